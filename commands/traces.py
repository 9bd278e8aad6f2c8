"""What became of a request, put into words and into the order of time. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from commands.failures import Failure
from commands.failures_of import told_failure
from commands.moments import format_moment
from commands.standing import Stage, Standing, told_entry
from reconciliation.current_rows import CurrentAggregate, CurrentEnrolment
from reconciliation.model import COMPLETED, EnrolmentKey, Origin


@dataclass(frozen=True, slots=True)
class TracedRequest:
    """One record on the input topic; `problem` says why it is no request for us, None where it is one.

    `first_ms` is when it was first sent, before any replay. `committed` is the bridge's offset in its partition.
    """

    origin: Origin
    enrolment: EnrolmentKey | None
    is_repeated: bool
    first_ms: int
    problem: str | None
    standing: Standing | None
    failure: Failure | None
    committed: int | None


@dataclass(frozen=True, slots=True)
class Announcement:
    """A certificate or audit event: its mid, and the places at which it was found, none where it wasn't."""

    kind: str
    topic: str
    mid: str
    places: tuple[Origin, ...]


@dataclass(frozen=True, slots=True)
class TracedEnrolment:
    """What the rows of one enrolment say now, and the events that announce what they say."""

    enrolment: EnrolmentKey
    row: CurrentEnrolment | None
    aggregate: CurrentAggregate | None
    announcements: tuple[Announcement, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """Everything that was found for a mid; `event` is what it names where that is no request.

    `earlier` counts the records that were found too and not followed, for there were so many.
    """

    mid: str
    event: Announcement | None
    requests: tuple[TracedRequest, ...]
    enrolments: tuple[TracedEnrolment, ...]
    earlier: int = 0

    def row_of(self, request: TracedRequest) -> CurrentEnrolment | None:
        """Give the row of a request's enrolment."""
        return next((it.row for it in self.enrolments if it.enrolment == request.enrolment), None)


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened at a time (ms since 1970)."""

    at_ms: int
    what: str


def timeline(trace: Trace) -> list[Moment]:
    """Put everything that has a time into its order."""
    moments: list[Moment] = []
    for request in trace.requests:
        again = ", sent again" if request.is_repeated else ""
        moments.append(Moment(request.origin.timestamp_ms, f"requested: {place(request.origin)}{again}"))
        entry = None if request.standing is None else request.standing.entry
        if entry is not None and entry.accepted_ms is not None:
            moments.append(Moment(entry.accepted_ms, f"taken in as entry {entry.entry_id}"))
        if request.failure is not None:
            at = place(request.failure.record.origin)
            moments.append(
                Moment(request.failure.failed_ms, f"given up: {told_failure(request.failure, request.origin)}; {at}")
            )
    for enrolment in trace.enrolments:
        moments += _of_rows(enrolment)
        for event in enrolment.announcements:
            moments += [Moment(it.timestamp_ms, f"{event.kind} event {event.mid}: {place(it)}") for it in event.places]
    known = {place(it) for enrolment in trace.enrolments for event in enrolment.announcements for it in event.places}
    if trace.event is not None:
        moments += [
            Moment(it.timestamp_ms, f"{trace.event.kind} event {trace.event.mid}: {place(it)}")
            for it in trace.event.places
            if place(it) not in known
        ]
    return sorted(moments, key=lambda moment: moment.at_ms)


def statements(trace: Trace) -> list[str]:
    """Say in a sentence each what became of every request, and of what its enrolment owes."""
    told = [f"{place(request.origin)}: {_told_request(trace, request)}" for request in trace.requests]
    if trace.earlier:
        told.append(f"{trace.earlier} earlier records were found too; only the latest are followed")
    for enrolment in trace.enrolments:
        told += _told_enrolment(enrolment)
    if trace.event is not None:
        current = [event.mid for enrolment in trace.enrolments for event in enrolment.announcements]
        which = "the completion that" if trace.mid in current else "another completion than"
        told.append(
            f"the mid is that of {_article(trace.event.kind)} event, which announces {which} the row carries now"
        )
        if not trace.requests:
            told.append("no request of this learner for this enrolment was found on the input topic in that time")
    return told


def place(origin: Origin) -> str:
    """Write a place on Kafka."""
    return f"{origin.topic}/{origin.partition}@{origin.offset}"


def _told_request(trace: Trace, request: TracedRequest) -> str:
    if request.failure is not None and (request.standing is None or request.standing.stage is Stage.ENDED):
        given_up = f"given up at {format_moment(request.failure.failed_ms)}"
        return f"{given_up} as {told_failure(request.failure, request.origin)}"
    if request.problem is not None or request.standing is None:
        return f"no request for us: {request.problem}"
    entry = request.standing.entry
    match request.standing.stage:
        case Stage.ON_KAFKA:
            at = "nothing" if request.committed is None else f"offset {request.committed}"
            return f"not taken yet: of this partition the bridge has committed {at}"
        case Stage.OPEN:
            return f"open: {'' if entry is None else told_entry(entry)}"
        case Stage.JOINED:
            into = "" if entry is None or entry.origin is None else f" at {place(entry.origin)}, which is"
            return f"open: joined the earlier request{into} {'' if entry is None else told_entry(entry)}".rstrip()
        case _:
            return f"settled: the ledger no longer holds it; {_told_row(trace.row_of(request), request.first_ms)}"


def _told_row(row: CurrentEnrolment | None, since_ms: int) -> str:
    if row is None:
        return "there is no enrolment row"
    cells = f"status {row.status}, progress {row.progress}"
    if row.updated_ms is not None and row.updated_ms >= since_ms:
        return f"its row was written at {format_moment(row.updated_ms)}: {cells}"
    if row.status == COMPLETED and row.completed_on_ms is not None:
        return f"its row was completed already at {format_moment(row.completed_on_ms)} and is left as it is"
    return f"its row was not written since ({cells}): nothing was consumed, or the course is retired"


def _told_enrolment(enrolment: TracedEnrolment) -> list[str]:
    told = []
    for event in enrolment.announcements:
        if event.places:
            told.append(f"its {event.kind} event is on {event.topic}: {', '.join(map(place, event.places))}")
        else:
            told.append(
                f"no {event.kind} event {event.mid} is on {event.topic}: it is owed yet, or dropped by now, or another "
                "job completed the enrolment"
            )
    return told


def _of_rows(enrolment: TracedEnrolment) -> Sequence[Moment]:
    moments = []
    row, aggregate = enrolment.row, enrolment.aggregate
    if aggregate is not None and aggregate.updated_ms is not None:
        count = aggregate.completed_count
        moments.append(Moment(aggregate.updated_ms, f"course's aggregate written: completedCount {count}"))
    if row is not None and row.completed_on_ms is not None:
        moments.append(Moment(row.completed_on_ms, "completed (completedon)"))
    if row is not None and row.updated_ms is not None:
        moments.append(Moment(row.updated_ms, f"enrolment written: status {row.status}, progress {row.progress}"))
    return moments


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
