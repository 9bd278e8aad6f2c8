"""What the tables hold beside what a reconciliation would leave there. Pure; times that any write renews are left out.

The rules are those of `progress.plan` alone: here its plan is laid over the rows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from reconciliation.model import EnrolmentRow, EnrolmentWrite, Look, Plan


class Cell(StrEnum):
    """What a reconciliation may change."""

    STATUS = "status"
    COMPLETED_ON = "completedon"
    PROGRESS = "progress"
    CONTENT_STATUS = "contentstatus"
    COMPLETED_COUNT = "completedCount"


#: What such a cell may hold; None where it is empty or its row is not there.
CellValue = int | float | Mapping[str, int] | None


@dataclass(frozen=True, slots=True)
class EnrolmentCells:
    """The cells of an enrolment's row that a reconciliation writes; completedon in milliseconds since 1970."""

    status: int | None
    completed_on_ms: int | None
    progress: int | None
    content_status: Mapping[str, int] | None


@dataclass(frozen=True, slots=True)
class AggregateRow:
    """One row of user_activity_agg: its completedCount, when that was written (ms), and the other entries' names."""

    completed_count: float | None
    updated_ms: int | None
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LearnerRows:
    """One look at a learner with everything that is compared.

    `consumption_written_us` is when each content's status was written last, in microseconds, where that is known.
    """

    look: Look
    enrolment: EnrolmentCells | None
    consumption_written_us: Mapping[str, int] = field(default_factory=dict)

    @property
    def row(self) -> EnrolmentRow | None:
        """The enrolment's row as a plan is made from it."""
        return self.look.enrolment


@dataclass(frozen=True, slots=True)
class TableState:
    """What the tables hold of one learner, as far as a reconciliation writes it.

    `completed_counts` is by activity id; an activity whose row or entry is missing isn't there.
    """

    enrolment: EnrolmentCells | None
    completed_counts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Change:
    """One cell that differs; `activity_id` names the aggregate row, and is empty for the enrolment's."""

    cell: Cell
    before: CellValue
    after: CellValue
    activity_id: str = ""


def table_state(enrolment: EnrolmentCells | None, aggregates: Mapping[str, AggregateRow]) -> TableState:
    """Put together what was read; aggregate rows are given by activity id."""
    counts = {name: row.completed_count for name, row in aggregates.items() if row.completed_count is not None}
    return TableState(enrolment, counts)


def after_plan(state: TableState, plan: Plan) -> TableState:
    """Give what the tables hold once a plan is written over `state`."""
    written = {write.activity_id: write.completed_count for write in plan.aggregates}
    enrolment = state.enrolment if plan.enrolment is None else _written(state.enrolment, plan.enrolment)
    return TableState(enrolment, {**state.completed_counts, **written})


def changes(before: TableState, after: TableState) -> tuple[Change, ...]:
    """List what differs: the enrolment's cells first, then the aggregate rows by activity id.

    A row that is made anew differs in every cell that it has then.
    """
    return (*_enrolment_changes(before.enrolment, after.enrolment), *_aggregate_changes(before, after))


def _written(before: EnrolmentCells | None, write: EnrolmentWrite) -> EnrolmentCells:
    kept = before or EnrolmentCells(None, None, None, None)
    return EnrolmentCells(
        status=kept.status if write.status is None else write.status.status,
        completed_on_ms=kept.completed_on_ms if write.completed_on_ms is None else write.completed_on_ms,
        progress=write.progress,
        content_status=write.content_status,
    )


def _enrolment_changes(before: EnrolmentCells | None, after: EnrolmentCells | None) -> Iterator[Change]:
    if after is None:
        return
    was = before or EnrolmentCells(None, None, None, None)
    for cell, old, new in (
        (Cell.STATUS, was.status, after.status),
        (Cell.COMPLETED_ON, was.completed_on_ms, after.completed_on_ms),
        (Cell.PROGRESS, was.progress, after.progress),
        # Cassandra keeps no empty map: it comes back as none at all
        (Cell.CONTENT_STATUS, was.content_status or None, after.content_status or None),
    ):
        if old != new:
            yield Change(cell, old, new)


def _aggregate_changes(before: TableState, after: TableState) -> Iterator[Change]:
    for activity_id, count in sorted(after.completed_counts.items()):
        old = before.completed_counts.get(activity_id)
        if old != count:
            yield Change(Cell.COMPLETED_COUNT, old, count, activity_id)
