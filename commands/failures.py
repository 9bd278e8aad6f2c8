"""Reads failed events, picks and counts them. Pure; docs/reconciliation.md, events, says what they look like."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from reconciliation.errors import InvalidRequest
from reconciliation.failed_event import JOB_NAME
from reconciliation.model import Origin, Record
from reconciliation.replays import first_origin_of, origin_of
from reconciliation.requests import read_object

#: What counts as the reason of a record on the failed topic that no job of ours wrote.
NO_FAILED_EVENT = "(no failed event)"

#: Reasons are few, but whoever writes to the topic may invent some: what comes beyond so many is counted together.
_MOST_REASONS = 100
_OTHERS = "(others)"

_SHOWN_CHARACTERS = 120


class Carried(StrEnum):
    """How a failed event carries its original."""

    FIELDS = "as it was"
    TEXT = "as text"
    BYTES = "as base64"
    NOTHING = "it had no value"
    CUT = "cut"
    FOREIGN = "no failed event"


@dataclass(frozen=True, slots=True)
class Failure:
    """One record of the failed topic.

    `failed_ms` is failInfo.failedAt, the record's own timestamp where that is missing. The ids are None where the
    original names none; the learner's is the record's key then. `origin` is where the request lay that was given up,
    `first` where it was first sent, `start` what can be shown of an original that is no JSON object, `size` how large
    a cut one was.
    """

    record: Record
    reason: str
    error: str
    attempts: int | None
    failed_ms: int
    user_id: str | None
    course_id: str | None
    batch_id: str | None
    carried: Carried
    start: str
    size: int | None
    origin: Origin | None
    first: Origin

    def without_value(self) -> "Failure":
        """Give what is to be kept of it where there may be many."""
        return replace(self, record=replace(self.record, value=None))

    @property
    def is_replay(self) -> bool:
        """Whether what failed had been sent again already."""
        return self.origin is not None and _place(self.origin) != _place(self.first)


def read_failure(record: Record) -> Failure:
    """Read a record of the failed topic, whatever it holds."""
    try:
        fields = read_object(record.value or b"")
    except InvalidRequest:
        fields = {}
    info = fields.get("failInfo")
    is_ours = fields.get("jobName") == JOB_NAME and isinstance(info, dict)
    told: Mapping[str, object] = info if is_ours and isinstance(info, dict) else {}
    edata = fields.get("edata")
    ids = edata if isinstance(edata, dict) else {}
    attempts, failed_ms, size = told.get("attempts"), told.get("failedAt"), told.get("size")
    carried, start = _carried(fields, told) if is_ours else (Carried.FOREIGN, "")
    return Failure(
        record=record,
        reason=str(told.get("errorCode") or "(no reason)") if is_ours else NO_FAILED_EVENT,
        error=str(told.get("error") or ""),
        attempts=attempts if isinstance(attempts, int) else None,
        failed_ms=failed_ms if isinstance(failed_ms, int) and failed_ms > 0 else record.origin.timestamp_ms,
        user_id=_id(ids, "userId") or (record.key.decode("utf-8", errors="replace") if record.key else None),
        course_id=_id(ids, "courseId"),
        batch_id=_id(ids, "batchId"),
        carried=carried,
        start=start,
        size=size if isinstance(size, int) else None,
        origin=origin_of(record),
        first=first_origin_of(record),
    )


@dataclass(frozen=True, slots=True)
class Selection:
    """Which failed events are meant; every part that is given must fit. Times are ms since 1970, both ends included."""

    reasons: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None
    user_id: str | None = None
    course_id: str | None = None
    batch_id: str | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return self == Selection()

    def names(self, reason: str) -> bool:
        """Say whether this reason is asked for by its name, in capitals or not."""
        return reason.upper() in self.reasons

    def admits(self, failure: Failure) -> bool:
        """Say whether this event is meant."""
        return (
            (not self.reasons or self.names(failure.reason))
            and (self.since_ms is None or failure.failed_ms >= self.since_ms)
            and (self.until_ms is None or failure.failed_ms <= self.until_ms)
            and self.user_id in (None, failure.user_id)
            and self.course_id in (None, failure.course_id)
            and self.batch_id in (None, failure.batch_id)
        )


@dataclass(slots=True)
class Count:
    """How many events, and when the first and the last of them failed (ms since 1970)."""

    events: int = 0
    oldest_ms: int = 0
    newest_ms: int = 0

    def add(self, failed_ms: int) -> None:
        """Count one more."""
        self.oldest_ms = min(self.oldest_ms, failed_ms) if self.events else failed_ms
        self.newest_ms = max(self.newest_ms, failed_ms) if self.events else failed_ms
        self.events += 1


@dataclass(slots=True)
class Summary:
    """Counts by reason, and of all; `earliest_ms` is the least timestamp of the events' records on the failed topic."""

    reasons: dict[str, Count] = field(default_factory=dict)
    total: Count = field(default_factory=Count)
    earliest_ms: int | None = None

    def add(self, failure: Failure) -> None:
        """Count one more event."""
        known = failure.reason in self.reasons or len(self.reasons) < _MOST_REASONS
        self.reasons.setdefault(failure.reason if known else _OTHERS, Count()).add(failure.failed_ms)
        self.total.add(failure.failed_ms)
        own_ms = failure.record.origin.timestamp_ms
        self.earliest_ms = own_ms if self.earliest_ms is None else min(self.earliest_ms, own_ms)

    def rows(self) -> list[tuple[str, Count]]:
        """Give the reasons, the most frequent first."""
        return sorted(self.reasons.items(), key=lambda row: (-row[1].events, row[0]))


def _carried(fields: Mapping[str, object], info: Mapping[str, object]) -> tuple[Carried, str]:
    text, encoded = info.get("event"), info.get("eventBase64")
    start = next((it[:_SHOWN_CHARACTERS] for it in (text, encoded) if isinstance(it, str)), "")
    if "sha256" in info:
        return Carried.CUT, start
    if isinstance(text, str):
        return Carried.TEXT, start
    if isinstance(encoded, str):
        return Carried.BYTES, start
    return (Carried.FIELDS if len(fields) > len(("jobName", "failInfo")) else Carried.NOTHING), ""


def _id(edata: Mapping[str, object], name: str) -> str | None:
    value = edata.get(name)
    return value if isinstance(value, str) else None


def _place(origin: Origin) -> tuple[str, int, int]:
    return origin.topic, origin.partition, origin.offset
