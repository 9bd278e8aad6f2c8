"""Leases on a real Redis: their time is the test's, so that a machine that stands still for a moment lapses none."""

import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from ledger.connection import LedgerConfig
from ledger.entries import Claim, Settlement
from ledger.lease_keeper import LeaseKeeper
from ledger.ledger import Ledger
from reconciliation.model import EnrolmentKey, Origin, Record, SyncRequest
from tests.ledger.steps import Clock
from tests.support.threads import no_thread_starts
from tests.support.waiting import wait_until

#: So short that the keeper renews often; in seconds, and in milliseconds of the test's clock.
LEASE = 0.3
LEASE_MS = 300
#: How long an attempt may take, in seconds.
LONGEST = 3.0


@pytest.fixture
def ledger(redis_url: str, clock: Clock) -> Iterator[Ledger]:
    config = LedgerConfig(
        url=redis_url,
        group_id=uuid.uuid4().hex,
        max_open=10,
        max_waiting=6,
        failures_per_minute=3,
        lease=LEASE,
        sweep_after=60,
        sweep_max_wait=600,
        sweep_rate=1000,
        paid_memory=1000,
        timeout=60,
    )
    opened = Ledger(config, clock)
    yield opened
    opened.close()


def claim_one(ledger: Ledger) -> list[Claim]:
    record = Record(Origin("requests", 0, 1, 1), b"key", b"{}")
    tickets = ledger.accept([SyncRequest("entry", EnrolmentKey("u", "c", "b"), record)]).tickets
    return ledger.claim(tickets, "token")


def lapses(ledger: Ledger, clock: Clock) -> bool:
    """Let a lease go by, and say whether the claim is swept then."""
    clock.now_ms += LEASE_MS
    return bool(ledger.sweep(10))


def is_renewed(ledger: Ledger, clock: Clock) -> bool:
    (row,) = ledger._redis.zrange(f"{ledger._prefix}due", 0, -1, withscores=True)
    return row == (b"entry", clock.now_ms + LEASE_MS)


def test_a_claim_is_kept_while_its_attempt_runs_and_lapses_after(ledger: Ledger, clock: Clock) -> None:
    keeper = LeaseKeeper(ledger, LEASE, 60, on_hung=pytest.fail)
    with keeper.holding(claim_one(ledger)):
        for _ in range(4):
            clock.now_ms += LEASE_MS // 2
            wait_until("it is renewed", lambda: is_renewed(ledger, clock))
            assert ledger.sweep(10) == []
    wait_until("it lapses", lambda: lapses(ledger, clock))
    keeper.close()


class Seconds:
    """The keeper's clock for attempts, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Seconds:
    made = Seconds()
    monkeypatch.setattr("ledger.lease_keeper.time", made)
    return made


def test_an_attempt_that_hangs_is_told_of_once_and_given_to_another(
    ledger: Ledger, clock: Clock, seconds: Seconds
) -> None:
    told: list[bool] = []
    keeper = LeaseKeeper(ledger, LEASE, LONGEST, on_hung=lambda: told.append(True))
    assert not keeper.is_all_hung()
    with keeper.holding(claim_one(ledger)):
        assert not keeper.is_all_hung()
        seconds.now += LONGEST * 1.1
        wait_until("it hangs", lambda: keeper.is_all_hung() and told)
        wait_until("it lapses", lambda: lapses(ledger, clock))
        assert keeper.is_all_hung()
        with keeper.holding([]):
            assert not keeper.is_all_hung()
    keeper.close()
    assert told == [True]


def test_an_attempt_that_says_so_gets_on(ledger: Ledger, clock: Clock, seconds: Seconds) -> None:
    told: list[bool] = []
    keeper = LeaseKeeper(ledger, LEASE, LONGEST, on_hung=lambda: told.append(True))
    with keeper.holding(claim_one(ledger)) as holding:
        for _ in range(4):
            seconds.now += LONGEST * 0.9
            clock.now_ms += LEASE_MS // 2
            wait_until("it is renewed", lambda: is_renewed(ledger, clock))
            holding.touch()
        assert not keeper.is_all_hung()
        assert told == []
        seconds.now += LONGEST * 1.1
        wait_until("it hangs", lambda: told)
    keeper.close()
    assert told == [True]


def test_what_is_settled_is_renewed_no_more(ledger: Ledger) -> None:
    keeper = LeaseKeeper(ledger, LEASE, 60, on_hung=pytest.fail)
    claims = claim_one(ledger)
    with keeper.holding(claims):
        ledger.settle([Settlement("entry")], "token")
    assert keeper._holdings == set()
    assert ledger.open_count() == 0
    keeper.close()


def test_an_attempt_for_which_no_thread_starts_goes_on_and_is_kept_with_the_next(ledger: Ledger, clock: Clock) -> None:
    keeper = LeaseKeeper(ledger, LEASE, 60, on_hung=pytest.fail)
    with ExitStack() as running:
        with no_thread_starts("lease-keeper") as refused:
            running.enter_context(keeper.holding(claim_one(ledger)))
        assert len(refused) == 1
        running.enter_context(keeper.holding([]))
        clock.now_ms += LEASE_MS // 2
        wait_until("it is renewed", lambda: is_renewed(ledger, clock))
    assert keeper._holdings == set()
    keeper.close()


def test_a_hang_about_which_nothing_could_be_done_is_told_again_and_others_are_renewed(
    ledger: Ledger, clock: Clock, seconds: Seconds
) -> None:
    told: list[bool] = []
    accepted: list[bool] = []
    is_refused = True

    def tell() -> None:
        told.append(True)
        if is_refused:
            raise RuntimeError("can't start new thread")
        accepted.append(True)

    keeper = LeaseKeeper(ledger, LEASE, LONGEST, on_hung=tell)
    with keeper.holding([]):
        seconds.now += LONGEST * 1.1
        wait_until("it is told again and again", lambda: len(told) > 2)
        with keeper.holding(claim_one(ledger)):
            clock.now_ms += LEASE_MS // 2
            wait_until("the other is renewed", lambda: is_renewed(ledger, clock))
            is_refused = False
            wait_until("it is told", lambda: accepted)
        time.sleep(LEASE * 2)
        assert accepted == [True]
    keeper.close()
