"""Says where a request on the input topic stands: not taken yet, open in the ledger, or ended (docs/reliability.md)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from bridge.marks import decode_mark
from bridge.positions import Committed
from commands.moments import format_moment
from ledger.ledger import Identity
from ledger.reading import LedgerReader, OpenEntry
from reconciliation.model import EnrolmentKey, Origin
from reconciliation.requests import request_id


class Stage(StrEnum):
    """How far a request has come."""

    ON_KAFKA = "not taken yet"
    OPEN = "open"
    JOINED = "open, joined to an earlier one"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a request has come, and the ledger's entry that holds it, its own or the one that it joined."""

    stage: Stage
    entry: OpenEntry | None = None


def is_taken(committed: Committed | None, offset: int, life: Identity | None) -> bool:
    """Say whether a bridge brought the record at this offset into the ledger as it is now.

    A commit made with another life of the ledger says nothing: the bridge goes back to what was open then.
    """
    if committed is None or committed.offset is None or committed.offset <= offset:
        return False
    mark = decode_mark(committed.metadata)
    return mark is None or (life is not None and mark.identity.is_same_life(life))


def standing_of(
    ledger: LedgerReader, committed: Mapping[int, Committed], enrolment: EnrolmentKey, origin: Origin
) -> Standing:
    """Ask the ledger for one request; `committed` was asked for before.

    Raises LedgerUnavailable.
    """
    life = ledger.life()
    entry_id = request_id(origin)
    entry = ledger.entries([entry_id]).get(entry_id)
    if entry is not None:
        return Standing(Stage.OPEN, entry)
    if ledger.open_offsets(origin.topic, origin.partition, origin.offset, origin.offset):
        return Standing(Stage.JOINED, ledger.joined(enrolment, origin))
    if is_taken(committed.get(origin.partition), origin.offset, life):
        return Standing(Stage.ENDED)
    return Standing(Stage.ON_KAFKA)


def told_entry(entry: OpenEntry) -> str:
    """Say in a line how an open entry stands."""
    spent = [
        f"{count} {one if count == 1 else more}"
        for count, one, more in (
            (entry.attempts, "attempt", "attempts"),
            (entry.waits, "wait", "waits"),
            (entry.crashes, "crash", "crashes"),
        )
        if count
    ]
    state = entry.state or "in a state that this release does not know"
    parts = [f"{state}: {entry.paused}" if entry.paused else state, *spent]
    if entry.reason:
        parts.append(entry.reason)
    if entry.failure is not None:
        parts.append(f"given up as {entry.failure.code}, its failed event has not left yet")
    if entry.owed_ms is not None:
        parts.append(f"owes the announcement of its completion at {format_moment(entry.owed_ms)}")
    if entry.due_ms is not None:
        parts.append(f"{'held until' if entry.state == 'claimed' else 'next'} {format_moment(entry.due_ms)}")
    return "; ".join(parts)
