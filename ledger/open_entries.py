"""What stands open, as operators are shown it, and how it adds up. Pure."""

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from ledger.entries import decode_enrolment, decode_failure
from ledger.pauses import Pause
from reconciliation.model import EnrolmentKey

#: The fields of an entry that are read for an `OpenEntry`, in this order.
FIELDS = (
    "enrolment",
    "state",
    "accepted",
    "attempts",
    "waits",
    "crashes",
    "reason",
    "owed",
    "failure",
    "blocked",
    "version",
)

_BLOCKED = "an attempt of the same enrolment runs, or left a debt that is paid first"


class EntryState(StrEnum):
    """What an open entry does or waits for; each is in one of these."""

    WAITING = "waiting"
    RUNNING = "running"
    RETRYING = "retrying"
    PAUSED = "paused"
    OWING = "owing"
    GIVEN_UP = "given up"


#: What each state means, in words.
MEANINGS: Mapping[EntryState, str] = {
    EntryState.WAITING: "for its first attempt",
    EntryState.RUNNING: "an attempt holds it",
    EntryState.RETRYING: "for its next attempt",
    EntryState.PAUSED: "for the end of a pause",
    EntryState.OWING: "a completion may be written and not announced",
    EntryState.GIVEN_UP: "its failed event has not left",
}


@dataclass(frozen=True, slots=True)
class OpenEntry:
    """An open entry: times in ms since 1970, counters as in `ledger.entries.Claim`.

    `reason` is the last attempt's or that of its final failure, '' where there is none; `cause` says in few words what
    it waits for, where that is known. `next_ms` is when it is sent again unless it is claimed before, None where it
    runs or is paused. `collapsed` counts the requests that joined it.
    """

    entry_id: str
    enrolment: EnrolmentKey
    state: EntryState
    accepted_ms: int
    attempts: int
    waits: int
    crashes: int
    reason: str
    cause: str
    owes: bool
    next_ms: int | None
    collapsed: int


def decode_open_entry(
    entry_id: str, values: Sequence[bytes | None], due_ms: int | None, collapsed: int, pauses: Sequence[Pause]
) -> OpenEntry | None:
    """Read an entry's `FIELDS`; None where it has ended meanwhile, or is none that this release reads."""
    fields = dict(zip(FIELDS, values, strict=True))
    try:
        enrolment = decode_enrolment(fields["enrolment"] or b"")
        failure = fields["failure"]
        failed = "" if failure is None else _failure_text(failure)
        accepted, attempts, waits, crashes = (
            int(fields[name] or 0) for name in ("accepted", "attempts", "waits", "crashes")
        )
    except (TypeError, ValueError):
        return None
    is_running = fields["state"] == b"claimed"
    pause = None if is_running else next((it for it in pauses if it.keeps_back(enrolment)), None)
    owes = fields["owed"] is not None
    reason = failed or (fields["reason"] or b"").decode(errors="replace")
    if is_running:
        state = EntryState.RUNNING
    elif pause is not None:
        state = EntryState.PAUSED
    elif owes:
        state = EntryState.OWING
    elif failure is not None:
        state = EntryState.GIVEN_UP
    elif attempts + waits + crashes > 0:
        state = EntryState.RETRYING
    else:
        state = EntryState.WAITING
    # a reason begins with its code, as failInfo has it
    cause = reason.partition(":")[0]
    if pause is not None:
        cause = f"{pause.what} is paused"
    elif fields["blocked"] == b"1":
        cause = _BLOCKED
    return OpenEntry(
        entry_id=entry_id,
        enrolment=enrolment,
        state=state,
        accepted_ms=accepted,
        attempts=attempts,
        waits=waits,
        crashes=crashes,
        reason=reason,
        cause=cause,
        owes=owes,
        next_ms=None if state in (EntryState.RUNNING, EntryState.PAUSED) else due_ms,
        collapsed=collapsed,
    )


def _failure_text(text: bytes) -> str:
    failure = decode_failure(text)
    return f"{failure.code}: {failure.error}"


@dataclass(slots=True)
class Survey:
    """Adds entries up, and keeps the oldest: at most `limit` of them."""

    limit: int
    entries: int = 0
    requests: int = 0
    by_state: Counter[EntryState] = field(default_factory=Counter)
    #: How many entries of a state, a course and a cause there are.
    by_cause: Counter[tuple[EntryState, str, str]] = field(default_factory=Counter)
    oldest_ms: int | None = None
    #: When the last entry of such a kind is sent again, where it is known.
    latest_next_ms: dict[tuple[EntryState, str, str], int] = field(default_factory=dict)
    _oldest: list[tuple[int, str, OpenEntry]] = field(default_factory=list)

    def add(self, entry: OpenEntry) -> None:
        """Take an entry in."""
        self.entries += 1
        self.requests += 1 + entry.collapsed
        self.by_state[entry.state] += 1
        kind = entry.state, entry.enrolment.course_id, entry.cause
        self.by_cause[kind] += 1
        if self.oldest_ms is None or entry.accepted_ms < self.oldest_ms:
            self.oldest_ms = entry.accepted_ms
        if entry.next_ms is not None:
            self.latest_next_ms[kind] = max(self.latest_next_ms.get(kind, 0), entry.next_ms)
        # a heap's first is its least: of these the youngest
        item = (-entry.accepted_ms, entry.entry_id, entry)
        if len(self._oldest) < self.limit:
            heapq.heappush(self._oldest, item)
        elif self._oldest:
            heapq.heappushpop(self._oldest, item)

    def oldest(self) -> list[OpenEntry]:
        """Give the oldest entries, the oldest of all first."""
        return [entry for _, _, entry in sorted(self._oldest, key=lambda item: (-item[0], item[1]))]
