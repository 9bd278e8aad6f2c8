"""Leases on a real Redis, by the server's own clock: short ones, so that the test needs no long waits."""

import time
import uuid
from collections.abc import Iterator

import pytest

from ledger.connection import LedgerConfig
from ledger.entries import Claim, Settlement
from ledger.lease_keeper import LeaseKeeper
from ledger.ledger import Ledger
from reconciliation.model import EnrolmentKey, Origin, Record, SyncRequest

LEASE = 0.3


@pytest.fixture
def ledger(redis_url: str) -> Iterator[Ledger]:
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
        timeout=5,
    )
    opened = Ledger(config)
    yield opened
    opened.close()


def claim_one(ledger: Ledger) -> list[Claim]:
    record = Record(Origin("requests", 0, 1, 1), b"key", b"{}")
    tickets = ledger.accept([SyncRequest("entry", EnrolmentKey("u", "c", "b"), record)]).tickets
    return ledger.claim(tickets, "token")


def swept_within(ledger: Ledger, seconds: float) -> bool:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if ledger.sweep(10):
            return True
        time.sleep(0.02)
    return False


def test_a_claim_is_kept_while_its_attempt_runs_and_lapses_after(ledger: Ledger) -> None:
    keeper = LeaseKeeper(ledger, LEASE, 60, on_hung=pytest.fail)
    claims = claim_one(ledger)
    with keeper.holding(claims):
        assert not swept_within(ledger, LEASE * 4)
    assert swept_within(ledger, LEASE * 20)
    keeper.close()


def test_an_attempt_that_hangs_is_told_of_once_and_given_to_another(ledger: Ledger) -> None:
    told: list[bool] = []
    keeper = LeaseKeeper(ledger, LEASE, LEASE * 2, on_hung=lambda: told.append(True))
    assert not keeper.is_all_hung()
    with keeper.holding(claim_one(ledger)):
        assert not keeper.is_all_hung()
        assert swept_within(ledger, LEASE * 20)
        assert keeper.is_all_hung()
        with keeper.holding([]):
            assert not keeper.is_all_hung()
    assert told == [True]
    keeper.close()


def test_an_attempt_that_says_so_gets_on(ledger: Ledger) -> None:
    keeper = LeaseKeeper(ledger, LEASE, LEASE * 4, on_hung=pytest.fail)
    ends = time.monotonic() + LEASE * 12
    with keeper.holding(claim_one(ledger)) as holding:
        while time.monotonic() < ends:
            holding.touch()
            assert not swept_within(ledger, LEASE / 4)
    keeper.close()


def test_what_is_settled_is_renewed_no_more(ledger: Ledger) -> None:
    keeper = LeaseKeeper(ledger, LEASE, 60, on_hung=pytest.fail)
    claims = claim_one(ledger)
    with keeper.holding(claims):
        ledger.settle([Settlement("entry")], "token")
    assert keeper._holdings == set()
    assert ledger.open_count() == 0
    keeper.close()
