"""Revoked messages, where the thread that works on them can't be started, or meets what ends processes."""

import pytest

from reconciliation.errors import LedgerUnavailable
from tasks import revocation
from tasks.revocation import Revocations
from tests.support.threads import no_thread_starts
from tests.support.waiting import wait_until


class Attempts:
    """Stands where the connections are asked for: counts how often, and fails, or would end the process."""

    def __init__(self) -> None:
        self.count = 0
        self.is_ending = False

    def __call__(self) -> None:
        self.count += 1
        if self.is_ending:
            raise SystemExit
        raise LedgerUnavailable("away")


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> Attempts:
    made = Attempts()
    monkeypatch.setattr(revocation, "current_connections", made)
    return made


def test_what_no_thread_could_be_started_for_is_worked_on_with_the_next(attempts: Attempts) -> None:
    revocations = Revocations()
    with no_thread_starts("revocations") as refused:
        revocations.add([])
    assert (len(refused), attempts.count) == (1, 0)

    revocations.add([])

    wait_until("both are worked on", lambda: attempts.count == 2)


def test_the_thread_outlives_what_would_end_a_process(attempts: Attempts) -> None:
    revocations = Revocations()
    attempts.is_ending = True
    revocations.add([])
    wait_until("it is worked on", lambda: attempts.count == 1)
    thread, attempts.is_ending = revocations._thread, False

    revocations.add([])

    wait_until("the next is worked on", lambda: attempts.count == 2)
    assert revocations._thread is thread
