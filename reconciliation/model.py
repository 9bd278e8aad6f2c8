"""The values that cross the domain's boundaries: all frozen, none knows a driver.

Times: `*_ms` are milliseconds since 1970 (what rows and events carry), `*_us` microseconds (what
Cassandra's USING TIMESTAMP and WRITETIME carry).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from reconciliation.errors import ReconciliationError

IN_PROGRESS = 1
COMPLETED = 2


@dataclass(frozen=True, slots=True, order=True)
class EnrolmentKey:
    """Names one learner's enrolment in one batch of one course."""

    user_id: str
    course_id: str
    batch_id: str


@dataclass(frozen=True, slots=True)
class Consumption:
    """One content that a learner opened, with its status (0, 1 in progress, 2 completed; null is read as 1).

    `completed_ms` is when it was completed last, None where that is not known or not read.
    """

    content_id: str
    status: int
    completed_ms: int | None = None


@dataclass(frozen=True, slots=True)
class EnrolmentRow:
    """What the enrolment's row said when we looked.

    `status_written_us` is the WRITETIME of status (None where the cell is empty), `last_written_us` the
    latest WRITETIME of these and of completedon, progress and datetime (None where none has one),
    `active_written_us` that of active, which comes with the row, `completed_on_written_us` that of completedon.
    """

    status: int | None
    completed_on_ms: int | None
    status_written_us: int | None
    last_written_us: int | None
    active_written_us: int | None = None
    completed_on_written_us: int | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a learner: every consumption row and the enrolment, read together."""

    consumption: tuple[Consumption, ...]
    enrolment: EnrolmentRow | None


@dataclass(frozen=True, slots=True)
class CourseRelations:
    """The relation sets of one course as far as a group of requests needs them.

    Keys are node ids (the course or a unit) in `leaf_nodes` and `optional_nodes`, content ids in
    `ancestors`. A missing key is a set that the cache does not hold.
    """

    leaf_nodes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    optional_nodes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    ancestors: Mapping[str, frozenset[str]] = field(default_factory=dict)


class CollectionStatus(StrEnum):
    """What the search service says of a course whose leaf nodes are missing."""

    RETIRED = "Retired"
    NOT_RETIRED = "not retired"


@dataclass(frozen=True, slots=True)
class AggregateWrite:
    """One row of user_activity_agg to add `completedCount` to."""

    activity_id: str
    user_id: str
    batch_id: str
    completed_count: float
    updated_ms: int
    stamp_us: int


@dataclass(frozen=True, slots=True)
class StatusWrite:
    """The enrolment's status to write, with a stamp of its own (a status 1 is stamped so that any completion wins)."""

    status: int
    stamp_us: int


@dataclass(frozen=True, slots=True)
class EnrolmentWrite:
    """What to write to one enrolment's row; what is None stays as it is.

    A completedon is written together with the status that it belongs to. Raises ValueError where that is missing or has
    another stamp.
    """

    enrolment: EnrolmentKey
    progress: int
    content_status: Mapping[str, int]
    updated_ms: int
    stamp_us: int
    status: StatusWrite | None
    completed_on_ms: int | None
    completion_percentage: int | None = None

    def __post_init__(self) -> None:
        if self.completed_on_ms is not None and (self.status is None or self.status.stamp_us != self.stamp_us):
            raise ValueError("a completedon comes with its status, both with the same stamp")


@dataclass(frozen=True, slots=True)
class Completion:
    """A completion to announce: one certificate and one audit event, named by these four."""

    enrolment: EnrolmentKey
    completed_on_ms: int


class Verdict(StrEnum):
    """What a reconciliation found, in one word for logs and counters."""

    NO_CONSUMPTION = "no consumption"
    NO_ENROLMENT = "no enrolment row"
    ALREADY_COMPLETED = "already completed"
    RETIRED = "course retired"
    IN_PROGRESS = "in progress"
    COMPLETED = "completed"


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that one reconciliation has decided to write and to announce."""

    verdict: Verdict
    aggregates: tuple[AggregateWrite, ...] = ()
    enrolment: EnrolmentWrite | None = None
    completion: Completion | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One claimed request as the domain sees it.

    `owed_ms` is the completedon that an earlier attempt recorded before it wrote, None where none did.
    `requested_ms` is the request's own Kafka timestamp. `repeated` marks a request that may have been answered before
    (replay, rewind, or a ledger that forgot), `repairing` one that also mends a completion without its time: a bulk
    run's.
    """

    entry_id: str
    enrolment: EnrolmentKey
    requested_ms: int
    owed_ms: int | None = None
    repeated: bool = False
    repairing: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended well; `paid` names the certificate and audit announcement that Kafka confirmed, if any."""

    entry_id: str
    verdict: Verdict
    paid: Completion | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """How one attempt ended badly; the error's class tells whether it is tried again."""

    entry_id: str
    error: ReconciliationError


class DebtStatus(StrEnum):
    """What the ledger answered when an attempt recorded a debt."""

    OWED = "owed"
    PAID = "paid"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Debt:
    """A completion that an attempt is about to write, and the mid under which it is announced."""

    entry_id: str
    completion: Completion
    mid: str


@dataclass(frozen=True, slots=True)
class OutgoingEvent:
    """One record for Kafka; headers and key are bytes as they go out."""

    topic: str
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where on Kafka a request came from; `timestamp_ms` is the record's own."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Record:
    """One record as Kafka gave it."""

    origin: Origin
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """A record that asks for a reconciliation. `entry_id` is the uuid5 of topic, partition and offset.

    `run` is the id of the bulk run in whose lane it goes, empty for the clicks' (docs/bulk.md).
    """

    entry_id: str
    enrolment: EnrolmentKey
    record: Record
    repeated: bool = False
    run: str = ""


@dataclass(frozen=True, slots=True)
class FinalFailure:
    """Why a request is given up: what the failed event's failInfo says."""

    code: str
    error: str
    attempts: int
    failed_at_ms: int
