"""What follows from one look at a learner: which rows to write and which completion to announce.

Pure: the look, the course's relations and the clocks come in, a `Plan` goes out. The rules are those of
docs/reconciliation.md (steps and relation sets); the stamps are those of docs/reliability.md (same result in any
order).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from reconciliation.completion_time import latest_completion
from reconciliation.errors import RelationsMissing
from reconciliation.model import (
    COMPLETED,
    IN_PROGRESS,
    AggregateWrite,
    Attempt,
    CollectionStatus,
    Completion,
    Consumption,
    CourseRelations,
    EnrolmentRow,
    EnrolmentWrite,
    Look,
    Plan,
    StatusWrite,
    Verdict,
)

#: How far a completion's time may lie before a repeated request's own Kafka timestamp and still be its answer:
#: the two times come from the clocks of different hosts.
REPEATED_SKEW_MS = 5 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that change what a reconciliation decides (docs/settings.md)."""

    module_aggregates_enabled: bool = True
    filter_processed_enrolments: bool = True
    optional_nodes_enabled: bool = True
    completed_on_from_consumption: bool = False
    completion_percentage_written: bool = False


@dataclass(frozen=True, slots=True)
class _Case:
    """Everything that one decision is made from."""

    attempt: Attempt
    look: Look
    relations: CourseRelations
    rules: Rules
    stamp_us: int
    now_ms: int

    def required(self, node_id: str) -> frozenset[str] | None:
        return required_nodes(node_id, self.relations, optional_enabled=self.rules.optional_nodes_enabled)


def required_nodes(node_id: str, relations: CourseRelations, *, optional_enabled: bool) -> frozenset[str] | None:
    """Give the contents that a node requires: its leaf nodes without its optional nodes (docs/reconciliation.md).

    `node_id` is the course or a unit. None means that the relation cache holds no leaf nodes for it.
    """
    leaf_nodes = relations.leaf_nodes.get(node_id)
    if leaf_nodes is None:
        return None
    if not optional_enabled:
        return leaf_nodes
    return leaf_nodes - relations.optional_nodes.get(node_id, frozenset())


def completed_count(required: frozenset[str] | None, consumption: Iterable[Consumption]) -> int:
    """Count the required contents that the learner has completed; a node without leaf nodes counts 0."""
    if required is None:
        return 0
    return len(required & {row.content_id for row in consumption if row.status == COMPLETED})


def completion_percentage(count: int, required: int) -> int:
    """Give how much of what is required is completed, in whole percents, rounded down; 100 where nothing is."""
    return 100 if count >= required else 100 * count // required


def completed_since_ms(rules: Rules, row: EnrolmentRow) -> int:
    """Give when a row's completion was written: its completedon, unless that says when the learner was done (ms)."""
    completed_on_ms = row.completed_on_ms or 0
    if not rules.completed_on_from_consumption:
        return completed_on_ms
    return max(completed_on_ms, (row.completed_on_written_us or 0) // 1000)


def unit_ids(consumption: Iterable[Consumption], relations: CourseRelations, course_id: str) -> frozenset[str]:
    """Give the distinct ancestors of every consumed content, whatever its status, without the course itself."""
    ancestors = (relations.ancestors.get(row.content_id, frozenset()) for row in consumption)
    return frozenset().union(*ancestors) - {course_id}


def needs_search(relations: CourseRelations, course_id: str) -> bool:
    """Say whether the search service must be asked if the course is retired: it has no leaf nodes."""
    return course_id not in relations.leaf_nodes


def clock_conflict(row: EnrolmentRow | None, stamp_us: int) -> bool:
    """Say whether the row has a cell not older than our stamp (microseconds), so that we must look again."""
    return row is not None and row.last_written_us is not None and row.last_written_us >= stamp_us


def plan(
    attempt: Attempt,
    look: Look,
    relations: CourseRelations,
    rules: Rules,
    *,
    stamp_us: int,
    now_ms: int,
    collection_status: CollectionStatus | None,
) -> Plan:
    """Decide what one attempt writes and announces (docs/reconciliation.md, steps).

    Args:
        attempt: the claimed request.
        look: the learner's consumption and enrolment, read after `stamp_us` was taken.
        relations: the relation sets of the attempt's course.
        rules: the settings that change the decision.
        stamp_us: the write time of what this plan writes, microseconds since 1970.
        now_ms: the time that the rows name as theirs, milliseconds since 1970.
        collection_status: what the search service says of a course without leaf nodes; None where it was not asked,
            since service.search.basePath is not set or the leaf nodes are there.

    Returns:
        The writes, aggregates in the order units by id and then the course, and the completion to announce. A
        completion without an enrolment write is one that stands in the row already and is still owed.

    Raises:
        RelationsMissing: the learner has consumption, the course has no leaf nodes and is not known to be retired.

    """
    case = _Case(attempt, look, relations, rules, stamp_us, now_ms)
    if not look.consumption:
        return Plan(Verdict.NO_CONSUMPTION, completion=_standing_completion(case))
    units = _unit_aggregates(case)
    course_id = attempt.enrolment.course_id
    required = case.required(course_id)
    if required is None:
        return _plan_without_leaf_nodes(case, units, collection_status)
    count = completed_count(required, look.consumption)
    aggregates = (*units, _aggregate(case, course_id, count))
    if rules.filter_processed_enrolments and look.enrolment is None:
        return Plan(Verdict.NO_ENROLMENT, aggregates)
    if _is_left_as_completed(case, is_complete=count >= len(required)):
        return _plan_already_completed(case, aggregates)
    if count < len(required):
        return Plan(Verdict.IN_PROGRESS, aggregates, _in_progress_write(case, count))
    return _plan_completion(case, aggregates, count)


def _plan_without_leaf_nodes(
    case: _Case, units: tuple[AggregateWrite, ...], collection_status: CollectionStatus | None
) -> Plan:
    standing = _standing_completion(case)
    if collection_status is CollectionStatus.RETIRED:
        return Plan(Verdict.RETIRED, units, completion=standing)
    if _is_debt(case, standing):
        # whoever recorded this debt wrote the course's aggregate before it: the announcement is all that is left
        return Plan(Verdict.COMPLETED, units, completion=standing)
    if standing is not None:
        # the relation sets may have been lost together with the ledger, and be on their way back: units would count 0
        return Plan(Verdict.ALREADY_COMPLETED, completion=standing)
    raise RelationsMissing(_missing_text(case.attempt.enrolment.course_id, collection_status))


def _is_left_as_completed(case: _Case, *, is_complete: bool) -> bool:
    if case.rules.filter_processed_enrolments:
        row = case.look.enrolment
        if row is None or row.status != COMPLETED:
            return False
        # a completion without its time was never announced, and nobody can get a certificate for it
        return not (case.attempt.repairing and is_complete and row.completed_on_ms is None)
    # a course may have come to require more since this request wrote its completion: that is announced all the same
    return not is_complete and _is_debt(case, _standing_completion(case))


def _plan_already_completed(case: _Case, aggregates: tuple[AggregateWrite, ...]) -> Plan:
    standing = _standing_completion(case)
    verdict = Verdict.COMPLETED if _is_debt(case, standing) else Verdict.ALREADY_COMPLETED
    return Plan(verdict, aggregates, completion=standing)


def _plan_completion(case: _Case, aggregates: tuple[AggregateWrite, ...], count: int) -> Plan:
    attempt, row = case.attempt, case.look.enrolment
    status = StatusWrite(COMPLETED, case.stamp_us)
    if row is not None and row.completed_on_ms is not None and not case.rules.filter_processed_enrolments:
        # without the filter the same completion is written again and again, and must keep its time
        write = _enrolment_write(case, count, status)
        return Plan(Verdict.COMPLETED, aggregates, write, Completion(attempt.enrolment, row.completed_on_ms))
    # a repeated try announces what the first one recorded: one request has one completedon
    completed_on_ms = _completed_on(case) if attempt.owed_ms is None else attempt.owed_ms
    write = _enrolment_write(case, count, status, completed_on_ms)
    return Plan(Verdict.COMPLETED, aggregates, write, Completion(attempt.enrolment, completed_on_ms))


def _completed_on(case: _Case) -> int:
    if not case.rules.completed_on_from_consumption:
        return case.now_ms
    required = case.required(case.attempt.enrolment.course_id) or frozenset()
    return latest_completion(required, case.look.consumption, case.now_ms)


def _standing_completion(case: _Case) -> Completion | None:
    """Give the completion that stands in the row and that this request still has to announce, if there is one.

    That is a debt which an earlier try recorded and wrote; or, for a repeated request, a completion that may have been
    written in answer to it before the ledger forgot. Whether it was paid meanwhile, the ledger knows.
    """
    attempt, row = case.attempt, case.look.enrolment
    if row is None or row.status != COMPLETED or row.completed_on_ms is None:
        return None
    owed = row.completed_on_ms == attempt.owed_ms
    answered = attempt.repeated and completed_since_ms(case.rules, row) >= attempt.requested_ms - REPEATED_SKEW_MS
    return Completion(attempt.enrolment, row.completed_on_ms) if owed or answered else None


def _is_debt(case: _Case, standing: Completion | None) -> bool:
    return standing is not None and standing.completed_on_ms == case.attempt.owed_ms


def _unit_aggregates(case: _Case) -> tuple[AggregateWrite, ...]:
    if not case.rules.module_aggregates_enabled:
        return ()
    consumption = case.look.consumption
    units = unit_ids(consumption, case.relations, case.attempt.enrolment.course_id)
    return tuple(
        _aggregate(case, unit_id, completed_count(case.required(unit_id), consumption)) for unit_id in sorted(units)
    )


def _aggregate(case: _Case, activity_id: str, count: int) -> AggregateWrite:
    return AggregateWrite(
        activity_id=activity_id,
        user_id=case.attempt.enrolment.user_id,
        batch_id=case.attempt.enrolment.batch_id,
        completed_count=float(count),
        updated_ms=case.now_ms,
        stamp_us=case.stamp_us,
    )


def _enrolment_write(
    case: _Case, count: int, status: StatusWrite | None, completed_on_ms: int | None = None
) -> EnrolmentWrite:
    return EnrolmentWrite(
        enrolment=case.attempt.enrolment,
        progress=count,
        content_status={row.content_id: row.status for row in case.look.consumption},
        updated_ms=case.now_ms,
        stamp_us=case.stamp_us,
        status=status,
        completed_on_ms=completed_on_ms,
        completion_percentage=_percentage(case, count) if case.rules.completion_percentage_written else None,
    )


def _percentage(case: _Case, count: int) -> int:
    return completion_percentage(count, len(case.required(case.attempt.enrolment.course_id) or ()))


def _in_progress_write(case: _Case, count: int) -> EnrolmentWrite:
    row = case.look.enrolment
    if row is not None and row.status == IN_PROGRESS:
        # not written at all: what isn't written can't hide a completion
        return _enrolment_write(case, count, status=None)
    return _enrolment_write(case, count, StatusWrite(IN_PROGRESS, _in_progress_stamp(row, case.stamp_us)))


def _in_progress_stamp(row: EnrolmentRow | None, stamp_us: int) -> int:
    """Give the write time of a status 1: just above the cell that it replaces (docs/reliability.md).

    So it can't hide a completion: one computed after the cells in our look has a later stamp, or ties with this one,
    and of two values with the same stamp Cassandra keeps the greater, which is 2.
    """
    if row is not None and row.status_written_us is not None:
        return row.status_written_us + 1
    # There is no cell. One that the row's insert deleted left a deletion whose write time can't be read: above what
    # came with that insert it does not swallow this status, and the lower the stamp, the more completions win.
    for written_us in () if row is None else (row.active_written_us, row.last_written_us):
        if written_us is not None:
            return written_us + 1
    return stamp_us


def _missing_text(course_id: str, collection_status: CollectionStatus | None) -> str:
    if collection_status is None:
        why = "whether it is retired can't be asked: service.search.basePath is not set"
    else:
        why = "the search service does not know it as retired"
    return f"the relation cache holds no leaf nodes for course {course_id}, and {why}"
