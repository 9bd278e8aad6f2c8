"""Judges one enrolment: what a reconciliation would change of it, and whether that is why it is chosen. Pure.

What is decided is decided by `progress.plan`; here its plan is laid over what the tables hold.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from bulk.model import Found, Reason, Selection, Unjudged
from reconciliation.comparison import Cell, Change, EnrolmentCells, TableState, after_plan, changes
from reconciliation.course import Course
from reconciliation.errors import ReconciliationError
from reconciliation.model import (
    COMPLETED,
    IN_PROGRESS,
    Attempt,
    Consumption,
    EnrolmentKey,
    EnrolmentRow,
    Look,
)
from reconciliation.progress import Rules

#: Gives the completedCount of those of these activities' aggregate rows that have one, by activity id.
CountsOf = Callable[[EnrolmentKey, Collection[str]], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Enrolled:
    """An enrolment's row as a selection looks at it; `active` is None where the cell is empty."""

    enrolment: EnrolmentKey
    cells: EnrolmentCells
    active: bool | None = None
    has_certificate: bool = False


def is_selected(row: Enrolled, selection: Selection) -> bool:
    """Say whether a row is among those that a selection is for, stuck or not."""
    key = row.enrolment
    return (
        selection.user_id in ("", key.user_id)
        and selection.course_id in ("", key.course_id)
        and selection.batch_id in ("", key.batch_id)
        and (row.active is True or not selection.active_only)
        and (row.cells.status != COMPLETED or not selection.not_completed)
    )


def look_of(cells: EnrolmentCells, contents: Collection[tuple[str, int | None]]) -> Look:
    """Give what was scanned as a plan is made from it: a null status is in progress, write times are not known."""
    return Look(
        tuple(Consumption(content, IN_PROGRESS if status is None else status) for content, status in contents),
        EnrolmentRow(cells.status, cells.completed_on_ms, None, None),
    )


def differences(
    enrolment: EnrolmentKey,
    look: Look,
    cells: EnrolmentCells,
    course: Course,
    rules: Rules,
    *,
    counts_of: CountsOf | None,
    now_us: int,
) -> tuple[Change, ...]:
    """List what a reconciliation would change now.

    `counts_of` gives what the aggregate rows hold; None leaves aggregates out. `now_us` is the clock in microseconds.
    Raises ReconciliationError where it could not be answered: RelationsMissing, or what kept the search service from
    being asked.
    """
    attempt = Attempt("judged", enrolment, requested_ms=now_us // 1000, repairing=True)
    plan = course.plan(attempt, look, rules, stamp_us=now_us, now_ms=now_us // 1000)
    if counts_of is None:
        plan, counts = replace(plan, aggregates=()), {}
    else:
        counts = dict(counts_of(enrolment, [write.activity_id for write in plan.aggregates]))
    before = TableState(cells, counts)
    return changes(before, after_plan(before, plan))


def reasons_of(found: Collection[Change]) -> tuple[Reason, ...]:
    """Say why an enrolment with these changes is chosen, in the order of `Reason`."""
    enrolment = {change.cell: change for change in found if not change.activity_id}
    reasons = set()
    status = enrolment.get(Cell.STATUS)
    if status is not None and status.after == COMPLETED:
        reasons.add(Reason.NOT_COMPLETED)
    elif Cell.COMPLETED_ON in enrolment:
        reasons.add(Reason.NO_COMPLETED_ON)
    if {Cell.PROGRESS, Cell.CONTENT_STATUS} & set(enrolment) or (status is not None and status.after != COMPLETED):
        reasons.add(Reason.PROGRESS)
    if any(change.activity_id for change in found):
        reasons.add(Reason.AGGREGATES)
    return tuple(reason for reason in Reason if reason in reasons)


def judged(
    row: Enrolled,
    selection: Selection,
    found: tuple[Change, ...] | ReconciliationError | None,
    *,
    lacks_certificate: bool = False,
) -> Found | Unjudged | None:
    """Say whether a row of a selection is chosen, and why; None where it is not.

    `found` is what `differences` gave or raised, None where it was not asked. One that is stuck and lacks a
    certificate is chosen for both where both are looked for.
    """
    if isinstance(found, ReconciliationError):
        if lacks_certificate:
            return Found(row.enrolment, (Reason.NO_CERTIFICATE,), (), row.cells.completed_on_ms)
        return Unjudged(row.enrolment, f"{found.code}: {found}")
    changed = found or ()
    reasons = reasons_of(changed)
    if lacks_certificate:
        reasons = (*reasons, Reason.NO_CERTIFICATE)
    if not reasons and not selection.stuck and not selection.missing_certificates:
        reasons = (Reason.SELECTED,)
    return Found(row.enrolment, reasons, changed, row.cells.completed_on_ms) if reasons else None
