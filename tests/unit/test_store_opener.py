"""When a process's connection to Cassandra is made anew."""

import threading
from collections.abc import Iterator

import pytest

from reconciliation.errors import StoreUnavailable
from reconciliation.silence import Silence
from reconciliation.store_opener import OLD_KEPT, RENEW_FIRST, RENEW_MOST, StoreOpener


class Connection:
    """A connection that answers or does not."""

    def __init__(self, *, answers: bool) -> None:
        self.answers = answers
        self.is_closed = threading.Event()

    def probe(self) -> None:
        if not self.answers:
            raise StoreUnavailable("away")

    def close(self) -> None:
        self.is_closed.set()


class Stand:
    """An opener of such connections, and the clock that it looks at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        self.made: list[Connection] = []
        self.refuses = False
        self.answers = True
        monkeypatch.setattr("reconciliation.store_opener.time.monotonic", lambda: self.now)
        self.opener = StoreOpener(self._connect)

    def _connect(self) -> Connection:
        if self.refuses:
            raise StoreUnavailable("refused")
        self.made.append(Connection(answers=self.answers))
        return self.made[-1]

    def fails(self) -> None:
        with pytest.raises(StoreUnavailable):
            self.opener.probe()


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    made = Stand(monkeypatch)
    made.opener.probe()
    made.made[0].answers = False
    yield made
    made.opener.close()


def test_a_new_connection_takes_the_place_of_one_that_stays_silent(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciliation.store_opener.OLD_KEPT", 0.01)
    stand.fails()
    stand.now += RENEW_FIRST - 1
    stand.fails()
    assert len(stand.made) == 1, "a server may be away for a moment"
    stand.now += 1
    # whoever found it silent waits: only the next one is answered
    stand.fails()
    old, new = stand.made
    assert stand.opener() is new
    stand.opener.probe()
    assert old.is_closed.wait(10)
    assert not new.is_closed.is_set()


def test_what_attempts_met_on_the_old_connection_was_the_server_s(stand: Stand) -> None:
    stand.fails()
    stand.now += RENEW_FIRST
    stand.fails()
    stand.opener.probe()
    with pytest.raises(StoreUnavailable, match="the old one"):
        stand.opener.probe_all_along()
    stand.now += 2 * OLD_KEPT
    stand.opener.probe_all_along()
    stand.made[1].answers = False
    with pytest.raises(StoreUnavailable, match="away"):
        stand.opener.probe_all_along()


def test_one_that_does_not_answer_either_changes_nothing(stand: Stand) -> None:
    stand.answers = False
    stand.fails()
    stand.now += RENEW_FIRST
    stand.fails()
    old, new = stand.made
    assert new.is_closed.is_set()
    assert stand.opener() is old
    old.answers = True
    stand.opener.probe()
    assert not old.is_closed.is_set()


def test_one_that_can_not_be_made_changes_nothing(stand: Stand) -> None:
    stand.refuses = True
    stand.fails()
    stand.now += RENEW_FIRST
    stand.fails()
    (old,) = stand.made
    assert stand.opener() is old


def test_an_answer_in_between_begins_the_count_anew(stand: Stand) -> None:
    (only,) = stand.made
    stand.fails()
    stand.now += RENEW_FIRST - 1
    only.answers = True
    stand.opener.probe()
    only.answers = False
    stand.now += 1
    stand.fails()
    assert stand.made == [only]


def test_it_is_tried_less_and_less_often() -> None:
    silence = Silence(RENEW_FIRST, RENEW_MOST)
    due = [now for now in range(2_000) if silence.is_due(now)]
    assert due == [30, 90, 210, 450, 750, 1050, 1350, 1650, 1950]
