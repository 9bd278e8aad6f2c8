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
        lease=LEASE,
        sweep_after=60,
        sweep_max_wait=600,
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
    keeper = LeaseKeeper(ledger, LEASE, longest=60)
    claims = claim_one(ledger)
    with keeper.holding(claims):
        assert not swept_within(ledger, LEASE * 4)
    assert swept_within(ledger, LEASE * 20)
    keeper.close()


def test_an_attempt_that_hangs_is_given_up_after_its_limit(ledger: Ledger) -> None:
    keeper = LeaseKeeper(ledger, LEASE, longest=LEASE * 2)
    with keeper.holding(claim_one(ledger)):
        assert swept_within(ledger, LEASE * 20)
    keeper.close()


def test_what_is_settled_is_renewed_no_more(ledger: Ledger) -> None:
    keeper = LeaseKeeper(ledger, LEASE, longest=60)
    claims = claim_one(ledger)
    with keeper.holding(claims):
        ledger.settle([Settlement("entry")], "token")
    assert keeper._held == {}
    assert ledger.open_count() == 0
    keeper.close()
