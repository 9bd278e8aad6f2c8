"""Explains one enrolment: what stands there, what a reconciliation would change, and why no certificate came. Pure.

What is decided is decided by `progress.plan`; here its reasons are put together for people.
"""

from dataclasses import dataclass
from enum import StrEnum

from reconciliation.certificate_reason import CertificateReason, certificate_reason
from reconciliation.comparison import Change, EnrolmentCells, after_plan, changes, table_state
from reconciliation.errors import ReconciliationError
from reconciliation.explanation_facts import EnrolmentDetails, Facts, OpenRequest, OtherEnrolment
from reconciliation.model import COMPLETED, Attempt, CollectionStatus, EnrolmentKey, Plan, Verdict
from reconciliation.progress import completed_count, required_nodes

#: A cell that was written so far ahead of our clock is told of, in microseconds.
_AHEAD_US = 2_000_000


class Role(StrEnum):
    """What a content is to the course."""

    REQUIRED = "required"
    OPTIONAL = "optional, not counted"
    FOREIGN = "not in the course, not counted"
    UNKNOWN = "unknown, the course's leaf nodes are missing"


@dataclass(frozen=True, slots=True)
class ContentLine:
    """One content; `status` is None where the learner never opened it."""

    content_id: str
    role: Role
    status: int | None
    units: tuple[str, ...]
    lacks_ancestors: bool

    @property
    def is_completed(self) -> bool:
        """Whether the learner has completed it."""
        return self.status == COMPLETED


@dataclass(frozen=True, slots=True)
class AggregateLine:
    """One aggregate row: what stands in the table, and what a reconciliation would leave there.

    `expected` is None where it would not be written, `required` where the node has no leaf nodes.
    """

    activity_id: str
    is_course: bool
    found: float | None
    expected: float | None
    required: int | None
    updated_ms: int | None
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Effect:
    """What a sync would do: cells that change, and whether it would announce a completion.

    `verdict` is None where it could not be answered: `refusal` says why then, `is_waiting` that it would wait for a
    server. `why_silent` says why nothing would be announced.
    """

    verdict: Verdict | None
    changes: tuple[Change, ...]
    announces: bool
    why_silent: str
    refusal: str = ""
    is_waiting: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that there is to say of one enrolment; `is_enrolled` says whether its row exists."""

    enrolment: EnrolmentKey
    is_enrolled: bool
    cells: EnrolmentCells | None
    details: EnrolmentDetails
    hints: tuple[str, ...]
    contents: tuple[ContentLine, ...]
    stale_optional: tuple[str, ...]
    units_without_leaf_nodes: tuple[str, ...]
    aggregates: tuple[AggregateLine, ...]
    missing_sets: tuple[str, ...]
    collection_status: str
    effect: Effect
    certificate: CertificateReason
    open_requests: tuple[OpenRequest, ...]
    ledger_away: str | None
    others: tuple[OtherEnrolment, ...]

    @property
    def required(self) -> tuple[ContentLine, ...]:
        """The contents that the course requires."""
        return tuple(line for line in self.contents if line.role is Role.REQUIRED)

    @property
    def is_course_known(self) -> bool:
        """Whether the course has leaf nodes, so that it is known what it requires."""
        return not any(line.is_course and line.required is None for line in self.aggregates)


def explain(facts: Facts) -> Explanation:
    """Put an explanation together."""
    plan, refused = _plan(facts)
    state = table_state(facts.rows.enrolment, facts.aggregates)
    changed = () if plan is None else changes(state, after_plan(state, plan))
    effect = _effect(plan, refused, changed)
    units = _units(facts)
    relations = facts.course.relations
    course_id = facts.enrolment.course_id
    leaf_nodes = relations.leaf_nodes.get(course_id)
    optional = relations.optional_nodes.get(course_id, frozenset())
    contents = _contents(facts)
    return Explanation(
        enrolment=facts.enrolment,
        is_enrolled=facts.rows.enrolment is not None,
        cells=facts.rows.enrolment,
        details=facts.details,
        hints=tuple(_hints(facts)),
        contents=contents,
        stale_optional=() if leaf_nodes is None else tuple(sorted(optional - leaf_nodes)),
        units_without_leaf_nodes=tuple(unit for unit in units if unit not in relations.leaf_nodes),
        aggregates=_aggregates(facts, plan, units),
        missing_sets=_missing_sets(facts, units, contents),
        collection_status=_collection_status(facts),
        effect=effect,
        certificate=certificate_reason(facts, effect_completes=effect.announces),
        open_requests=facts.ledger.open_requests,
        ledger_away=facts.ledger.away,
        others=facts.others,
    )


def _plan(facts: Facts) -> tuple[Plan | None, ReconciliationError | None]:
    attempt = Attempt("explained", facts.enrolment, requested_ms=facts.now_us // 1000)
    try:
        plan = facts.course.plan(
            attempt, facts.rows.look, facts.rules, stamp_us=facts.now_us, now_ms=facts.now_us // 1000
        )
    except ReconciliationError as error:
        return None, error
    return plan, None


_WHY_SILENT = {
    Verdict.NO_CONSUMPTION: "the learner has opened nothing in this batch",
    Verdict.NO_ENROLMENT: "there is no enrolment row",
    Verdict.ALREADY_COMPLETED: (
        "the enrolment is completed already, and such are left alone (activity.filter.processed.enrolments)"
    ),
    Verdict.RETIRED: "the course is retired, so the enrolment is left alone",
    Verdict.IN_PROGRESS: "required contents are still open",
}


def _effect(plan: Plan | None, refused: ReconciliationError | None, changed: tuple[Change, ...]) -> Effect:
    if plan is None:
        refusal = "" if refused is None else f"{refused.code}: {refused}"
        is_waiting = refused is not None and refused.code == "SEARCH_UNAVAILABLE"
        return Effect(None, (), announces=False, why_silent=refusal, refusal=refusal, is_waiting=is_waiting)
    announces = plan.completion is not None
    return Effect(plan.verdict, changed, announces, "" if announces else _WHY_SILENT.get(plan.verdict, ""))


def _units(facts: Facts) -> tuple[str, ...]:
    """List every unit that is known of, whether or not the learner opened something in it."""
    relations = facts.course.relations
    known = {*relations.leaf_nodes, *(unit for units in relations.ancestors.values() for unit in units)}
    return tuple(sorted(known - {facts.enrolment.course_id}))


def _contents(facts: Facts) -> tuple[ContentLine, ...]:
    """List required contents first, then optional ones, then those that the course does not hold."""
    relations, course_id = facts.course.relations, facts.enrolment.course_id
    leaf_nodes = relations.leaf_nodes.get(course_id)
    required = required_nodes(course_id, relations, optional_enabled=facts.rules.optional_nodes_enabled)
    statuses = {row.content_id: row.status for row in facts.rows.look.consumption}

    def role(content_id: str) -> Role:
        if leaf_nodes is None or required is None:
            return Role.UNKNOWN
        if content_id in required:
            return Role.REQUIRED
        return Role.OPTIONAL if content_id in leaf_nodes else Role.FOREIGN

    lines = [
        ContentLine(
            content_id,
            role(content_id),
            statuses.get(content_id),
            tuple(sorted(relations.ancestors.get(content_id, frozenset()) - {course_id})),
            lacks_ancestors=content_id not in relations.ancestors,
        )
        for content_id in {*(leaf_nodes or ()), *statuses}
    ]
    order = list(Role)
    return tuple(sorted(lines, key=lambda line: (order.index(line.role), line.content_id)))


def _aggregates(facts: Facts, plan: Plan | None, units: tuple[str, ...]) -> tuple[AggregateLine, ...]:
    relations = facts.course.relations
    expected = {} if plan is None else {write.activity_id: write.completed_count for write in plan.aggregates}

    def line(activity_id: str) -> AggregateLine:
        row = facts.aggregates.get(activity_id)
        required = required_nodes(activity_id, relations, optional_enabled=facts.rules.optional_nodes_enabled)
        return AggregateLine(
            activity_id,
            is_course=activity_id == facts.enrolment.course_id,
            found=None if row is None else row.completed_count,
            expected=expected.get(activity_id),
            required=None if required is None else len(required),
            updated_ms=None if row is None else row.updated_ms,
            others=() if row is None else row.others,
        )

    return tuple(line(activity_id) for activity_id in (facts.enrolment.course_id, *units))


def _missing_sets(facts: Facts, units: tuple[str, ...], contents: tuple[ContentLine, ...]) -> tuple[str, ...]:
    """Name the keys that the relation cache lacks; missing optional nodes are normal."""
    course_id, leaf_nodes = facts.enrolment.course_id, facts.course.relations.leaf_nodes
    nodes = [f"{course_id}:{node}:leafnodes" for node in (course_id, *units) if node not in leaf_nodes]
    lacking = [line.content_id for line in contents if line.lacks_ancestors and line.role is not Role.FOREIGN]
    return (*nodes, *(f"{course_id}:{content_id}:ancestors" for content_id in lacking))


def _collection_status(facts: Facts) -> str:
    """Say what the search service says of a course whose leaf nodes are missing; empty where it need not be asked."""
    if facts.enrolment.course_id in facts.course.relations.leaf_nodes:
        return ""
    if not facts.is_search_set:
        return "not asked: service.search.basePath is not set"
    if facts.course.unknown is not None:
        return f"no answer: {facts.course.unknown}"
    if facts.course.status is CollectionStatus.RETIRED:
        return "retired"
    return "not retired (live, unlisted or not found)"


def _hints(facts: Facts) -> list[str]:
    """Say what is unusual about the enrolment's row."""
    cells, row = facts.rows.enrolment, facts.rows.row
    hints = []
    if facts.details.active is False:
        hints.append("the enrolment is inactive: the certificate service ignores it")
    if cells is not None and cells.status == COMPLETED and cells.completed_on_ms is None:
        hints.append("status is 2 but completedon is empty: the certificate service crashes on that")
    if cells is not None and cells.status != COMPLETED and cells.completed_on_ms is not None:
        hints.append("completedon is set though status is not 2: it was completed once and was set back")
    if cells is not None and cells.status == COMPLETED and not _is_complete_now(facts):
        hints.append("status is 2 though required contents are open by what the course is now")
    if row is not None and row.last_written_us is not None and row.last_written_us > facts.now_us + _AHEAD_US:
        hints.append("a cell was written by a clock that is ahead of this host's: later writes may not show")
    return hints


def _is_complete_now(facts: Facts) -> bool:
    """Say whether nothing required is open, or it is not known what is required."""
    required = required_nodes(
        facts.enrolment.course_id, facts.course.relations, optional_enabled=facts.rules.optional_nodes_enabled
    )
    return required is None or completed_count(required, facts.rows.look.consumption) >= len(required)
