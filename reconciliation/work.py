"""A group's attempts on their way through the steps of a reconciliation."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from reconciliation.errors import ReconciliationError
from reconciliation.model import COMPLETED, Attempt, Completion, EnrolmentRow, Look, Plan, Verdict


@dataclass(slots=True)
class Work:
    """One attempt on its way through the steps; `error` takes it out of all that follow."""

    attempt: Attempt
    stamp_us: int = 0
    look: Look = field(default_factory=lambda: Look((), None))
    plan: Plan = field(default_factory=lambda: Plan(Verdict.NO_CONSUMPTION))
    announce: Completion | None = None
    error: ReconciliationError | None = None


def shows(row: EnrolmentRow | None, completion: Completion) -> bool:
    """Say whether a row, as it was read, is in the state that a completion brings it to."""
    return row is not None and row.status == COMPLETED and row.completed_on_ms == completion.completed_on_ms


def alive(works: Sequence[Work]) -> list[Work]:
    """Give those that have not failed."""
    return [work for work in works if work.error is None]


def take_errors(works: Sequence[Work], errors: Sequence[ReconciliationError | None]) -> None:
    """Note what each of these failed with, if anything."""
    for work, error in zip(works, errors, strict=True):
        work.error = error


def changed_users(works: Sequence[Work]) -> list[str]:
    """Give the learners whose rows were written, by this attempt or by the one whose completion it still announces."""
    return [
        work.attempt.enrolment.user_id
        for work in alive(works)
        if work.plan.aggregates or work.plan.enrolment is not None or work.announce is not None
    ]


def above(look: Look, stamp_us: int) -> int:
    """Give a stamp one microsecond after the latest cell of the row."""
    written = look.enrolment.last_written_us if look.enrolment else None
    return max(stamp_us, (written or 0) + 1)
