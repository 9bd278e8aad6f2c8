"""Requests, claims and a clock for the tests of the ledger's steps."""

from dataclasses import dataclass

from ledger.entries import Claim, Swept, Ticket
from ledger.ledger import Ledger
from reconciliation.model import EnrolmentKey, Origin, Record, SyncRequest

LEASE_MS = 60_000
WAIT_MS = 15_000
ALICE = EnrolmentKey("alice", "course", "batch")
BOB = EnrolmentKey("bob", "course", "batch")


@dataclass
class Clock:
    now_ms: int = 1_000_000

    def __call__(self) -> int:
        return self.now_ms


def request(offset: int, enrolment: EnrolmentKey = ALICE, *, repeated: bool = False, at: int = 500) -> SyncRequest:
    record = Record(Origin("requests", 0, offset, at), b"key", b'{"event":1}', (("h", b"\xff"), ("n", None)))
    return SyncRequest(f"entry-{offset}", enrolment, record, repeated)


def claim_one(ledger: Ledger, ticket: Ticket, token: str = "token", *, begins: bool = False) -> Claim:
    (claim,) = ledger.claim([ticket], token, begins=begins)
    return claim


def lapse(ledger: Ledger, clock: Clock) -> Swept:
    """Let a lease go by, and give the one entry that is swept then."""
    clock.now_ms += LEASE_MS
    (swept,) = ledger.sweep(10)
    return swept
