"""Everything that is known of one enrolment before it is explained: rows, relation sets, ledger. Values alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from reconciliation.comparison import AggregateRow, LearnerRows
from reconciliation.course import Course
from reconciliation.model import EnrolmentKey
from reconciliation.progress import Rules


@dataclass(frozen=True, slots=True)
class EnrolmentDetails:
    """What an enrolment's row says beside what a reconciliation looks at; times in milliseconds since 1970.

    Certificates are given by their names; None where the installation's table has no such column. `enrolled_date` is
    the text that older rows have, `enrolled_ms` the time that newer ones have.
    """

    active: bool | None = None
    certificates: tuple[str, ...] | None = None
    issued_certificates: tuple[str, ...] | None = None
    certificate_status: int | None = None
    enrolled_date: str | None = None
    enrolled_ms: int | None = None
    last_read_content: str | None = None
    updated_ms: int | None = None


class Templates(StrEnum):
    """What is known of the batch's certificate templates, which the course service keeps."""

    THERE = "there is one"
    NONE = "there is none"
    NO_BATCH = "the table of batches does not hold this batch"
    NOT_LOOKED = "not looked at: this keyspace has no table of batches with templates"


@dataclass(frozen=True, slots=True, order=True)
class OtherEnrolment:
    """A course and batch in which the learner has rows too; `status` only where `is_enrolled`."""

    course_id: str
    batch_id: str
    is_enrolled: bool
    status: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A sync request for this enrolment that is accepted and not settled; times in milliseconds since 1970.

    `state` is "waiting" or "claimed" (an attempt runs), `clicks` counts the requests that end with it, `next_try_ms`
    is when the sweep looks at it, `owed_ms` a completedon that is recorded as owed, `failure` why it is given up,
    `paused` by what pause it is kept back, '' by none.
    """

    entry_id: str
    state: str
    attempts: int
    waits: int
    crashes: int
    clicks: int
    reason: str
    requested_ms: int
    accepted_ms: int
    next_try_ms: int | None
    owed_ms: int | None = None
    failure: str | None = None
    paused: str = ""


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """What the ledger knows of the enrolment; `away` is why it could not be asked.

    `is_paid` says whether it remembers the completion's announcement as sent, None where there is no completion.
    """

    open_requests: tuple[OpenRequest, ...] = ()
    is_paid: bool | None = None
    away: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What an explanation is made from.

    `retry_attempts` and `paid_memory` (seconds) are the settings of these names, `is_search_set` says whether
    service.search.basePath is; `others` are the learner's other enrolments, those of this course first.
    """

    enrolment: EnrolmentKey
    now_us: int
    rules: Rules
    rows: LearnerRows
    course: Course
    aggregates: Mapping[str, AggregateRow]
    details: EnrolmentDetails = EnrolmentDetails()
    templates: Templates = Templates.NOT_LOOKED
    ledger: LedgerFacts = LedgerFacts()
    others: tuple[OtherEnrolment, ...] = ()
    is_search_set: bool = False
    retry_attempts: int = 6
    paid_memory: float = 172_800.0
