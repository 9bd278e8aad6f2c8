"""The values that a bulk run's parts pass to each other: what is looked for, what was found, how far it came."""

from dataclasses import dataclass
from enum import StrEnum

from reconciliation.comparison import Change
from reconciliation.model import EnrolmentKey


class Reason(StrEnum):
    """Why an enrolment was chosen; one may have several."""

    SELECTED = "selected"
    NOT_COMPLETED = "requirement met, not completed"
    NO_COMPLETED_ON = "completed, no completedon"
    PROGRESS = "progress differs"
    AGGREGATES = "aggregates differ"
    NO_CERTIFICATE = "completed, no certificate"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which enrolments a run is for; an id that is empty narrows nothing, and all that is given must hold.

    `stuck` takes only what a reconciliation would change, `missing_certificates` only completed ones whose batch has a
    certificate template and that have no certificate. With neither every enrolment of the selection is taken.
    """

    user_id: str = ""
    course_id: str = ""
    batch_id: str = ""
    active_only: bool = False
    not_completed: bool = False
    stuck: bool = False
    missing_certificates: bool = False

    @property
    def is_chosen(self) -> bool:
        """Say whether anything chooses among all enrolments; leaving some out is no choice."""
        return bool(self.user_id or self.course_id or self.batch_id or self.stuck or self.missing_certificates)


@dataclass(frozen=True, slots=True)
class TokenRange:
    """A part of the ring: tokens above `after`, up to and with `until`. Of a file, its enrolments by their number."""

    after: int
    until: int


@dataclass(frozen=True, slots=True)
class Found:
    """One enrolment that was chosen, why, and what a reconciliation would change of it (empty where it isn't known).

    `completed_on_ms` is its completedon, ms since 1970, None where it has none.
    """

    enrolment: EnrolmentKey
    reasons: tuple[Reason, ...]
    changes: tuple[Change, ...] = ()
    completed_on_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Unjudged:
    """One enrolment that could not be judged, and why: its course has no leaf nodes, say."""

    enrolment: EnrolmentKey
    why: str


@dataclass(frozen=True, slots=True)
class Slice:
    """One token range that was looked through whole: a run goes on after its last token.

    `looked_at` counts the enrolments that were read, chosen or not.
    """

    tokens: TokenRange
    looked_at: int
    found: tuple[Found, ...]
    unjudged: tuple[Unjudged, ...]
