"""What shadow mode makes of a learner's rows after another job answered the same request (docs/shadow.md). Pure.

`expectations` says what we would have left there, `compare` in what the rows differ, and of which kind that is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from reconciliation.comparison import (
    Cell,
    CellValue,
    Change,
    EnrolmentCells,
    LearnerRows,
    TableState,
    after_plan,
    changes,
)
from reconciliation.course import Course
from reconciliation.model import COMPLETED, Attempt, EnrolmentKey, Plan
from reconciliation.progress import REPEATED_SKEW_MS, Rules

#: For the logs of every process that runs so.
SHADOW_WARNING = (
    "shadow mode (shadow.enabled): requests are compared with what the tables hold; nothing is written to Cassandra, "
    "nothing is sent to Kafka"
)

#: Clocks that differ by no more are taken as equal, in milliseconds.
CLOCK_TOLERANCE_MS = 2000

_MOST_CONTENTS_TOLD = 10
_LONGEST_TOLD = 300


class Kind(StrEnum):
    """In what the rows differ from what we would have left there; each has a row in docs/shadow.md."""

    COMPLETED_THOUGH_INCOMPLETE = "completed-though-incomplete"
    INCOMPLETE_THOUGH_COMPLETE = "incomplete-though-complete"
    COMPLETION_WITHOUT_DATE = "completion-without-completedon"
    ENROLMENT_MISSING = "enrolment-missing"
    STATUS = "status"
    PROGRESS = "progress"
    CONTENT_STATUS = "contentstatus"
    COURSE_AGGREGATE = "course-aggregate"
    UNIT_AGGREGATE = "unit-aggregate"
    OPTIONAL_NODES = "optional-nodes"
    LEFT_AS_COMPLETED = "left-as-completed"
    RELATIONS_MISSING = "relations-missing"
    NOT_COMPARED = "not-compared"


#: One sentence for each, for people.
MEANINGS: Mapping[Kind, str] = {
    Kind.COMPLETED_THOUGH_INCOMPLETE: "the row says completed, by our count required contents are open",
    Kind.INCOMPLETE_THOUGH_COMPLETE: "the row does not say completed, by our count nothing required is open",
    Kind.COMPLETION_WITHOUT_DATE: "the row says completed and has no completedon",
    Kind.ENROLMENT_MISSING: "there is no row, and we would make one",
    Kind.STATUS: "the row's status is neither in progress nor completed",
    Kind.PROGRESS: "progress is another number than ours",
    Kind.CONTENT_STATUS: "contentstatus is not what the learner's consumption says",
    Kind.COURSE_AGGREGATE: "the course's completedCount is another than ours, or missing",
    Kind.UNIT_AGGREGATE: "a unit's completedCount is another than ours, or missing",
    Kind.OPTIONAL_NODES: "explained by what we do otherwise on purpose: optional contents are not required",
    Kind.LEFT_AS_COMPLETED: "progress or contentstatus of an enrolment completed earlier, which both jobs leave alone",
    Kind.RELATIONS_MISSING: "could not be compared: the course's leaf nodes are missing (RELATIONS_MISSING)",
    Kind.NOT_COMPARED: "could not be compared: the request was given up for another reason",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One cell that differs: what we would have left there and what stands there, as text for people.

    `activity_id` names the aggregate row, and is empty for the enrolment's.
    """

    kind: Kind
    expected: str
    found: str
    activity_id: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What became of comparing one request.

    `moved_on` says that the learner consumed more after the request, so that differences say nothing: there are none
    then. `answered` says that the rows were written since the request, so that another job has had its turn.
    """

    entry_id: str
    enrolment: EnrolmentKey
    differences: tuple[Difference, ...] = ()
    moved_on: bool = False
    answered: bool = True

    @property
    def was_compared(self) -> bool:
        """Whether rows were compared at all."""
        return not any(it.kind in (Kind.RELATIONS_MISSING, Kind.NOT_COMPARED) for it in self.differences)


@dataclass(frozen=True, slots=True)
class Expectations:
    """What we would leave behind: `ours` by the rules in force, `strict` with optional contents required too."""

    ours: Plan
    strict: Plan


def expectations(
    attempt: Attempt, rows: LearnerRows, course: Course, rules: Rules, *, stamp_us: int, now_ms: int
) -> Expectations:
    """Plan as if no enrolment were left alone: the filter must not hide a wrong completion.

    Times are as `progress.plan` takes them. Raises ReconciliationError as `Course.plan` does.
    """
    seeing = replace(rules, filter_processed_enrolments=False)
    if rows.row is None and rules.filter_processed_enrolments:
        # nobody makes an enrolment that is missing
        seeing = rules
    strict = replace(seeing, optional_nodes_enabled=False)
    return Expectations(
        course.plan(attempt, rows.look, seeing, stamp_us=stamp_us, now_ms=now_ms),
        course.plan(attempt, rows.look, strict, stamp_us=stamp_us, now_ms=now_ms),
    )


def compare(
    attempt: Attempt,
    rows: LearnerRows,
    found: TableState,
    expected: Expectations,
    rules: Rules,
    answered_ms: int | None,
) -> Comparison:
    """Compare the rows with what is expected.

    Args:
        attempt: the request.
        rows: the look at the learner that `expected` was made from.
        found: what the tables hold.
        expected: what we would have left there.
        rules: the settings that are in force.
        answered_ms: when the aggregate rows were written last, None where there are none.

    Returns:
        The comparison, with the kinds of all differences.

    """
    differing = tuple(_differences(attempt, found, expected, rules))
    written_us = max(rows.consumption_written_us.values(), default=0)
    moved_on = bool(differing) and written_us // 1000 > attempt.requested_ms
    row_us = (rows.row and rows.row.last_written_us) or 0
    return Comparison(
        attempt.entry_id,
        attempt.enrolment,
        differences=() if moved_on else differing,
        moved_on=moved_on,
        answered=max(row_us // 1000, answered_ms or 0) >= attempt.requested_ms - CLOCK_TOLERANCE_MS,
    )


def _differences(attempt: Attempt, found: TableState, expected: Expectations, rules: Rules) -> Iterator[Difference]:
    ours = after_plan(found, expected.ours)
    strict = after_plan(found, expected.strict)
    row = found.enrolment
    if row is None and ours.enrolment is not None:
        yield Difference(Kind.ENROLMENT_MISSING, f"status {ours.enrolment.status}", "no row")
    if expected.ours.enrolment is not None and _lacks_date(row):
        yield Difference(Kind.COMPLETION_WITHOUT_DATE, "a completedon", "none")
    for change in changes(found, ours):
        kind = _kind(change, attempt.enrolment, row)
        if kind is None:
            continue
        if change.before == _value(strict, change):
            # by the leaf nodes alone the row is right
            kind = Kind.OPTIONAL_NODES
        elif kind in (Kind.PROGRESS, Kind.CONTENT_STATUS) and _was_left(attempt, row, rules):
            kind = Kind.LEFT_AS_COMPLETED
        yield Difference(
            kind,
            expected=_text(change.cell, change.after, change.before),
            found=_text(change.cell, change.before, change.after),
            activity_id=change.activity_id,
        )


def _kind(change: Change, enrolment: EnrolmentKey, row: EnrolmentCells | None) -> Kind | None:
    """Name what a changed cell is; None where another difference tells it already."""
    if change.cell is Cell.COMPLETED_COUNT:
        return Kind.COURSE_AGGREGATE if change.activity_id == enrolment.course_id else Kind.UNIT_AGGREGATE
    if row is None or change.cell is Cell.COMPLETED_ON:
        # told by the row that is missing, by the status or by the date that is missing
        return None
    if change.cell is Cell.STATUS:
        if change.after == COMPLETED:
            return Kind.INCOMPLETE_THOUGH_COMPLETE
        return Kind.COMPLETED_THOUGH_INCOMPLETE if change.before == COMPLETED else Kind.STATUS
    return Kind.PROGRESS if change.cell is Cell.PROGRESS else Kind.CONTENT_STATUS


def _value(state: TableState, change: Change) -> CellValue:
    """Give what a cell holds in another state."""
    if change.cell is Cell.COMPLETED_COUNT:
        return state.completed_counts.get(change.activity_id)
    row = state.enrolment
    if row is None:
        return None
    match change.cell:
        case Cell.STATUS:
            return row.status
        case Cell.COMPLETED_ON:
            return row.completed_on_ms
        case Cell.PROGRESS:
            return row.progress
        case _:
            return row.content_status or None


def _lacks_date(row: EnrolmentCells | None) -> bool:
    return row is not None and row.status == COMPLETED and row.completed_on_ms is None


def _was_left(attempt: Attempt, row: EnrolmentCells | None, rules: Rules) -> bool:
    """Say whether the row was completed before this request, so that nobody wrote it in answer."""
    if not rules.filter_processed_enrolments or row is None or row.status != COMPLETED:
        return False
    return row.completed_on_ms is None or row.completed_on_ms < attempt.requested_ms - REPEATED_SKEW_MS


def _text(cell: Cell, value: CellValue, other: CellValue) -> str:
    if cell is not Cell.CONTENT_STATUS:
        return "none" if value is None else str(value)
    text = _content_text(value, other)
    return text if len(text) <= _LONGEST_TOLD else text[:_LONGEST_TOLD] + "…"


def _content_text(value: CellValue, other: CellValue) -> str:
    """Tell of a contentstatus what the other has not, content by content."""
    mine = value if isinstance(value, Mapping) else {}
    theirs = other if isinstance(other, Mapping) else {}
    differing = sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name))
    told = [f"{name}: {mine.get(name, 'none')}" for name in differing[:_MOST_CONTENTS_TOLD]]
    more = len(differing) - len(told)
    return ", ".join([*told, *([f"and {more} more"] if more else [])])
