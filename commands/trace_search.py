"""Finds on Kafka, in the ledger and in Cassandra what belongs to a mid."""

import heapq
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bridge.positions import Committed
from commands.failures_of import FailuresOf
from commands.progress import Progress
from commands.standing import standing_of
from commands.topics import KafkaReader, Span, Topic, audit_topic, certificate_topic, failed_topic, input_topic
from commands.traces import Announcement, Trace, TracedEnrolment, TracedRequest
from ledger.reading import LedgerReader
from reconciliation.current_rows import CurrentRows
from reconciliation.errors import InvalidRequest
from reconciliation.events import audit_mid, completion_mid
from reconciliation.model import COMPLETED, Completion, EnrolmentKey, Origin, Record
from reconciliation.requests import REPEATED_HEADER, Skip, parse, read_object
from reconciliation.settings import Settings

#: Of several records that carry the mid, or that are of the learner, so many are followed: the latest.
MOST_REQUESTS = 20

# Clocks differ: an event is looked for from so much earlier on than what it announces.
_SLACK_MS = 600_000
_AUDIT_PREFIX = "LP.AUDIT."


@dataclass(frozen=True, slots=True)
class Servers:
    """What the search asks; `open_rows` connects to Cassandra when its rows are wanted."""

    settings: Settings
    kafka: KafkaReader
    ledger: LedgerReader
    rows: CurrentRows


@dataclass(frozen=True, slots=True)
class _Found:
    """The latest of the records that fit, and how many earlier ones there are."""

    records: tuple[Record, ...] = ()
    earlier: int = 0


def search(servers: Servers, mid: str, since_ms: int) -> Trace | None:
    """Find everything that belongs to this mid, from `since_ms` (ms since 1970) on; None where nothing carries it.

    Raises ServerAway, LedgerUnavailable, StoreUnavailable and what the readers raise besides.
    """
    found = _Found() if mid.startswith(_AUDIT_PREFIX) else _requests_with(servers, mid, since_ms)
    event, learner = None, None
    if not found.records:
        known = _event_with(servers, mid, since_ms)
        if known is None:
            return None
        event, learner = known
        found = _requests_of(servers, learner, since_ms)
    requests = _requests(servers, found.records, since_ms)
    keys = {learner: None} if learner is not None else {}
    keys |= {request.enrolment: None for request in requests if request.enrolment is not None}
    enrolments = tuple(_enrolment(servers, key) for key in keys)
    return Trace(mid, event, tuple(requests), enrolments, found.earlier)


def _requests_with(servers: Servers, mid: str, since_ms: int) -> _Found:
    """Find the records that carry this mid, those that are no JSON but hold it included."""

    def carries(record: Record) -> bool:
        try:
            return read_object(record.value or b"").get("mid") == mid
        except InvalidRequest:
            return True

    return _latest(servers, mid, since_ms, carries)


def _requests_of(servers: Servers, learner: EnrolmentKey, since_ms: int) -> _Found:
    """Find the requests for this enrolment."""

    def is_theirs(record: Record) -> bool:
        try:
            parsed = parse(record, batch_sync=servers.settings.batch_sync_accepted)
        except InvalidRequest:
            return False
        return not isinstance(parsed, Skip) and parsed.enrolment == learner

    return _latest(servers, learner.user_id, since_ms, is_theirs)


def _latest(servers: Servers, text: str, since_ms: int, fits: Callable[[Record], bool]) -> _Found:
    """Find the latest records on the input topic that hold this text and fit, the oldest of them first."""
    span = servers.kafka.span(input_topic(servers.settings), since_ms)
    # (time, number) tells which of them are the latest; the number keeps records from being compared
    latest: list[tuple[int, int, Record]] = []
    count = 0
    for record in _read(servers.kafka, span, text):
        if fits(record):
            count += 1
            heapq.heappush(latest, (record.origin.timestamp_ms, count, record))
            if len(latest) > MOST_REQUESTS:
                heapq.heappop(latest)
    return _Found(tuple(record for _, _, record in sorted(latest)), count - len(latest))


def _read(kafka: KafkaReader, span: Span, text: str) -> Iterator[Record]:
    """Give the records whose bytes hold this text, as JSON writes it with and without escapes."""
    forms = {json.dumps(text)[1:-1].encode(), json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "replace")}
    with Progress(f"searching {span.topic.name}", len(span)) as progress:
        yield from kafka.read(span, tuple(forms), progress.advance)


def _requests(servers: Servers, records: Sequence[Record], since_ms: int) -> list[TracedRequest]:
    if not records:
        return []
    settings = servers.settings
    committed = servers.kafka.committed(input_topic(settings))
    traced = [_standing(servers, record, committed) for record in records]
    span = servers.kafka.span(failed_topic(settings), since_ms)
    failures = FailuresOf(servers.kafka, span, [(it.origin, it.enrolment) for it in traced])
    return [replace(it, failure=failures.of(it.origin, it.enrolment)) for it in traced]


def _standing(servers: Servers, record: Record, committed: Mapping[int, Committed]) -> TracedRequest:
    commit = committed.get(record.origin.partition)
    traced = TracedRequest(
        origin=record.origin,
        enrolment=None,
        is_repeated=any(name == REPEATED_HEADER for name, _ in record.headers),
        first_ms=record.origin.timestamp_ms,
        problem=None,
        standing=None,
        failure=None,
        committed=None if commit is None else commit.offset,
    )
    try:
        parsed = parse(record, batch_sync=servers.settings.batch_sync_accepted)
    except InvalidRequest as error:
        return replace(traced, problem=str(error))
    if isinstance(parsed, Skip):
        return replace(traced, problem=parsed.reason)
    standing = standing_of(servers.ledger, committed, parsed.enrolment, record.origin)
    first_ms = parsed.record.origin.timestamp_ms
    return replace(traced, enrolment=parsed.enrolment, first_ms=first_ms, standing=standing)


def _enrolment(servers: Servers, key: EnrolmentKey) -> TracedEnrolment:
    row = servers.rows.enrolment(key)
    announcements: tuple[Announcement, ...] = ()
    if row is not None and row.status == COMPLETED and row.completed_on_ms is not None:
        completion = Completion(key, row.completed_on_ms)
        settings = servers.settings
        announcements = (
            _announcement(servers, "certificate", certificate_topic(settings), completion_mid(completion), completion),
            _announcement(servers, "audit", audit_topic(settings), audit_mid(completion), completion),
        )
    return TracedEnrolment(key, row, servers.rows.course_aggregate(key), announcements)


def _announcement(servers: Servers, kind: str, topic: Topic, mid: str, completion: Completion) -> Announcement:
    """Look for the event from the completion on: in the partition of its key, and only then in the others.

    The audit topic holds everybody's telemetry, so it is read no further than to the first event that is found.
    """
    span = servers.kafka.span(topic, max(0, completion.completed_on_ms - _SLACK_MS))
    # librdkafka's "consistent" partitioner, which the product's producers are left with
    likely = zlib.crc32(completion.enrolment.user_id.encode("utf-8")) % len(span.end)
    places: list[Origin] = []
    for part in (span.only(likely), span.without(likely)):
        for record in _read(servers.kafka, part, mid):
            if _mid_of(record) == mid:
                places.append(record.origin)
                if kind == "audit":
                    break
        if places:
            break
    return Announcement(kind, topic.name, mid, tuple(places))


def _event_with(servers: Servers, mid: str, since_ms: int) -> tuple[Announcement, EnrolmentKey] | None:
    """Find the certificate or audit event with this mid, and whom it is about."""
    is_audit = mid.startswith(_AUDIT_PREFIX)
    kind, topic = ("audit", audit_topic) if is_audit else ("certificate", certificate_topic)
    named = topic(servers.settings)
    for record in _read(servers.kafka, servers.kafka.span(named, since_ms), mid):
        learner = _learner_of(record)
        if learner is not None and _mid_of(record) == mid:
            return Announcement(kind, named.name, mid, (record.origin,)), learner
    return None


def _mid_of(record: Record) -> object:
    try:
        return read_object(record.value or b"").get("mid")
    except InvalidRequest:
        return None


def _learner_of(record: Record) -> EnrolmentKey | None:
    """Read whom a certificate or audit event is about; None where it is another event."""
    try:
        event = read_object(record.value or b"")
    except InvalidRequest:
        return None
    match event:
        case {"edata": {"userIds": [str(user), *_], "courseId": str(course), "batchId": str(batch)}}:
            return EnrolmentKey(user, course, batch)
        case {
            "actor": {"id": str(user)},
            "context": {
                "cdata": [{"type": "CourseBatch", "id": str(batch)}, {"type": "Course", "id": str(course)}, *_]
            },
        }:
            return EnrolmentKey(user, course, batch)
        case _:
            return None
