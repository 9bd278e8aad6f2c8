"""Steps of docs/reconciliation.md, example by example."""

import pytest

from reconciliation.errors import RelationsMissing
from reconciliation.model import (
    Attempt,
    CollectionStatus,
    Completion,
    Consumption,
    CourseRelations,
    EnrolmentKey,
    EnrolmentRow,
    EnrolmentWrite,
    Look,
    Plan,
    StatusWrite,
    Verdict,
)
from reconciliation.progress import (
    REPEATED_SKEW_MS,
    Rules,
    clock_conflict,
    completed_count,
    needs_search,
    plan,
    required_nodes,
    unit_ids,
)

KEY = EnrolmentKey("user001", "course001", "Batch1")
STAMP_US = 1_700_000_000_000_000
NOW_MS = 1_700_000_000_123
REQUESTED_MS = 1_699_999_999_000
MINUTES_5 = 5 * 60 * 1000
RELATIONS = CourseRelations(
    leaf_nodes={
        "course001": frozenset({"do_R1", "do_R2", "do_R3"}),
        "unit1": frozenset({"do_R1", "do_R3"}),
        "unit2": frozenset({"do_R2", "do_R3"}),
    },
    ancestors={
        "do_R1": frozenset({"course001", "unit1"}),
        "do_R2": frozenset({"course001", "unit2"}),
        "do_R3": frozenset({"course001", "unit1", "unit2"}),
    },
)
NO_LEAF_NODES = CourseRelations(
    leaf_nodes={"unit1": frozenset({"do_R1", "do_R3"})}, ancestors={"do_R1": frozenset({"course001", "unit1"})}
)
ALL_DONE = {"do_R1": 2, "do_R2": 2, "do_R3": 2}
TWO_DONE = {"do_R1": 2, "do_R2": 1, "do_R3": 2}
UNFILTERED = Rules(filter_processed_enrolments=False)


def row(
    status: int | None = 1, completed_on: int | None = None, status_us: int | None = 500, last_us: int | None = 900
) -> EnrolmentRow:
    return EnrolmentRow(status, completed_on, status_us, last_us)


def decide(
    statuses: dict[str, int],
    enrolment: EnrolmentRow | None,
    *,
    relations: CourseRelations = RELATIONS,
    rules: Rules = Rules(),  # noqa: B008 - frozen
    owed_ms: int | None = None,
    repeated: bool = False,
    collection_status: CollectionStatus | None = None,
    stamp_us: int = STAMP_US,
) -> Plan:
    look = Look(tuple(Consumption(content, status) for content, status in statuses.items()), enrolment)
    attempt = Attempt("entry", KEY, REQUESTED_MS, owed_ms=owed_ms, repeated=repeated)
    return plan(attempt, look, relations, rules, stamp_us=stamp_us, now_ms=NOW_MS, collection_status=collection_status)


def counts(decided: Plan) -> list[tuple[str, float]]:
    return [(write.activity_id, write.completed_count) for write in decided.aggregates]


FULL_COUNTS = [("unit1", 2.0), ("unit2", 2.0), ("course001", 3.0)]


def test_the_completed_example() -> None:
    decided = decide(ALL_DONE, row(1))
    assert decided.verdict is Verdict.COMPLETED
    assert counts(decided) == FULL_COUNTS
    for write in decided.aggregates:
        assert (write.user_id, write.batch_id) == ("user001", "Batch1")
        assert (write.updated_ms, write.stamp_us) == (NOW_MS, STAMP_US)
        assert isinstance(write.completed_count, float)
    assert decided.enrolment is not None
    assert decided.enrolment.enrolment == KEY
    assert decided.enrolment.status == StatusWrite(2, STAMP_US)
    assert decided.enrolment.progress == 3
    assert decided.enrolment.content_status == ALL_DONE
    assert decided.enrolment.completed_on_ms == NOW_MS
    assert (decided.enrolment.updated_ms, decided.enrolment.stamp_us) == (NOW_MS, STAMP_US)
    assert decided.completion == Completion(KEY, NOW_MS)


COURSE = "do_1127212344324751361295"
CONTENTS = [f"do_11260735471149056012{number}" for number in (299, 300, 301)]
LEARNER = EnrolmentKey("8454cb21-3ce9-4e30-85b5-fade097880d8", COURSE, "0126083288437637121")


@pytest.mark.parametrize("enrolment", [None, row(1)])
def test_the_example_in_progress(enrolment: EnrolmentRow | None) -> None:
    units = {"do_course_unit1": [0], "do_course_unit2": [1], "do_course_unit3": [2, 1]}
    relations = CourseRelations(
        leaf_nodes={
            COURSE: frozenset(CONTENTS),
            **{unit: frozenset(CONTENTS[place] for place in places) for unit, places in units.items()},
        },
        ancestors={
            content: frozenset([COURSE, *(unit for unit, places in units.items() if place in places)])
            for place, content in enumerate(CONTENTS)
        },
    )
    look = Look(tuple(map(Consumption, CONTENTS, (2, 2, 1))), enrolment)
    decided = plan(
        Attempt("entry", LEARNER, REQUESTED_MS),
        look,
        relations,
        Rules(),
        stamp_us=STAMP_US,
        now_ms=NOW_MS,
        collection_status=None,
    )
    assert counts(decided) == [*((unit, 1.0) for unit in units), (COURSE, 2.0)]
    assert decided.completion is None
    if enrolment is None:
        assert decided.verdict is Verdict.NO_ENROLMENT
        assert decided.enrolment is None
        return
    assert decided.verdict is Verdict.IN_PROGRESS
    assert decided.enrolment is not None
    assert decided.enrolment.progress == 2
    # it is 1 already
    assert decided.enrolment.status is None
    assert decided.enrolment.completed_on_ms is None
    assert decided.enrolment.content_status == dict(zip(CONTENTS, (2, 2, 1), strict=True))


def test_no_consumption_does_nothing() -> None:
    for enrolment in (None, row(1), row(2, completed_on=NOW_MS)):
        assert decide({}, enrolment, rules=UNFILTERED) == Plan(Verdict.NO_CONSUMPTION)


def test_a_recorded_debt_is_paid_even_if_the_consumption_is_gone() -> None:
    decided = decide({}, row(2, completed_on=77), owed_ms=77)
    assert decided == Plan(Verdict.NO_CONSUMPTION, completion=Completion(KEY, 77))


def test_module_aggregates_can_be_switched_off() -> None:
    decided = decide(ALL_DONE, row(1), rules=Rules(module_aggregates_enabled=False))
    assert counts(decided) == [("course001", 3.0)]


def test_a_unit_without_leaf_nodes_counts_nothing() -> None:
    relations = CourseRelations(RELATIONS.leaf_nodes, {}, {"do_R1": frozenset({"course001", "unit9"})})
    assert counts(decide({"do_R1": 2}, row(1), relations=relations)) == [("unit9", 0.0), ("course001", 1.0)]


def test_units_of_contents_that_are_not_completed_are_written_too() -> None:
    assert counts(decide({"do_R2": 0}, row(1))) == [("unit2", 0.0), ("course001", 0.0)]


@pytest.mark.parametrize(("enabled", "expected"), [(True, Verdict.COMPLETED), (False, Verdict.IN_PROGRESS)])
def test_optional_nodes_are_not_required_unless_switched_off(*, enabled: bool, expected: Verdict) -> None:
    optional = {"course001": frozenset({"do_R2"}), "unit2": frozenset({"do_R2"})}
    relations = CourseRelations(RELATIONS.leaf_nodes, optional, RELATIONS.ancestors)
    decided = decide(TWO_DONE, row(1), relations=relations, rules=Rules(optional_nodes_enabled=enabled))
    assert decided.verdict is expected
    assert dict(counts(decided)) == {"unit1": 2.0, "unit2": 1.0, "course001": 2.0}


def test_a_completed_optional_content_is_not_counted() -> None:
    relations = CourseRelations(
        RELATIONS.leaf_nodes, {"course001": frozenset({"do_R2", "do_gone"})}, RELATIONS.ancestors
    )
    decided = decide({"do_R1": 1, "do_R2": 2, "do_R3": 1}, row(1), relations=relations)
    assert dict(counts(decided))["course001"] == 0.0


def test_nothing_required_means_completed() -> None:
    relations = CourseRelations({"course001": frozenset({"do_R1"})}, {"course001": frozenset({"do_R1"})}, {})
    decided = decide({"do_R1": 0}, row(1), relations=relations)
    assert decided.verdict is Verdict.COMPLETED
    assert counts(decided) == [("course001", 0.0)]


@pytest.mark.parametrize("status", [0, 3, -1, 5])
def test_other_statuses_are_carried_but_do_not_count(status: int) -> None:
    decided = decide({"do_R1": 2, "do_R2": 2, "do_R3": status}, row(1))
    assert decided.verdict is Verdict.IN_PROGRESS
    assert decided.enrolment is not None
    assert decided.enrolment.content_status["do_R3"] == status
    assert decided.enrolment.progress == 2


@pytest.mark.parametrize("statuses", [ALL_DONE, TWO_DONE])
def test_a_completed_enrolment_gets_aggregates_only(statuses: dict[str, int]) -> None:
    decided = decide(statuses, row(2, completed_on=NOW_MS))
    assert decided.verdict is Verdict.ALREADY_COMPLETED
    assert dict(counts(decided))["course001"] == (3.0 if statuses is ALL_DONE else 2.0)
    assert (decided.enrolment, decided.completion) == (None, None)


def test_a_debt_that_the_row_shows_is_paid_and_nothing_written() -> None:
    decided = decide(TWO_DONE, row(2, completed_on=77), owed_ms=77)
    assert decided.verdict is Verdict.COMPLETED
    assert decided.enrolment is None
    assert decided.completion == Completion(KEY, 77)


@pytest.mark.parametrize("completed_on", [78, None])
def test_a_debt_that_the_row_does_not_show_is_not_paid(completed_on: int | None) -> None:
    decided = decide(ALL_DONE, row(2, completed_on=completed_on), owed_ms=77)
    assert decided.verdict is Verdict.ALREADY_COMPLETED
    assert decided.completion is None


def test_a_repeated_try_writes_and_announces_the_completedon_recorded_first() -> None:
    decided = decide(ALL_DONE, row(1), owed_ms=77)
    assert decided.enrolment is not None
    assert decided.enrolment.completed_on_ms == 77
    assert decided.completion == Completion(KEY, 77)


@pytest.mark.parametrize(
    ("completed_on", "announced"),
    [
        (REQUESTED_MS, True),
        (REQUESTED_MS + 1, True),
        (REQUESTED_MS - MINUTES_5, True),
        (REQUESTED_MS - MINUTES_5 - 1, False),
        (None, False),
    ],
)
def test_a_repeated_request_announces_a_completion_that_may_be_its_own(
    completed_on: int | None, *, announced: bool
) -> None:
    decided = decide(ALL_DONE, row(2, completed_on=completed_on), repeated=True)
    assert decided.verdict is Verdict.ALREADY_COMPLETED
    assert decided.enrolment is None
    assert (decided.completion is not None) is announced
    if decided.completion is not None:
        assert decided.completion.completed_on_ms == completed_on
    assert decide(ALL_DONE, row(2, completed_on=completed_on)).completion is None


def test_a_repeated_request_with_another_completion_of_its_time_pays_that_one() -> None:
    decided = decide(ALL_DONE, row(2, completed_on=REQUESTED_MS), owed_ms=77, repeated=True)
    assert decided.verdict is Verdict.ALREADY_COMPLETED
    assert decided.completion == Completion(KEY, REQUESTED_MS)


@pytest.mark.parametrize(
    ("enrolment", "stamp"),
    [
        (row(0, status_us=500, last_us=900), 501),
        (row(None, status_us=None, last_us=900), 901),
        (EnrolmentRow(None, None, None, last_written_us=900, active_written_us=300), 301),
        (EnrolmentRow(None, None, None, last_written_us=None, active_written_us=300), 301),
        (row(None, status_us=None, last_us=None), STAMP_US),
        (row(0, status_us=None, last_us=None), STAMP_US),
    ],
)
def test_a_status_1_is_stamped_just_above_what_it_replaces(enrolment: EnrolmentRow, stamp: int) -> None:
    decided = decide(TWO_DONE, enrolment)
    assert decided.enrolment is not None
    assert decided.enrolment.status == StatusWrite(1, stamp)
    assert decided.enrolment.stamp_us == STAMP_US
    assert decided.enrolment.completed_on_ms is None


def test_without_the_filter_a_missing_row_is_made() -> None:
    started = decide(TWO_DONE, None, rules=UNFILTERED)
    assert started.enrolment is not None
    assert started.enrolment.status == StatusWrite(1, STAMP_US)
    assert started.completion is None
    completed = decide(ALL_DONE, None, rules=UNFILTERED)
    assert completed.enrolment is not None
    assert completed.enrolment.status == StatusWrite(2, STAMP_US)
    assert completed.enrolment.completed_on_ms == NOW_MS
    assert completed.completion == Completion(KEY, NOW_MS)


def test_without_the_filter_a_completion_may_be_taken_back() -> None:
    for owed_ms, repeated in ((None, False), (77, False), (None, True)):
        decided = decide(TWO_DONE, row(2, completed_on=NOW_MS), rules=UNFILTERED, owed_ms=owed_ms, repeated=repeated)
        assert decided.verdict is Verdict.IN_PROGRESS
        assert decided.enrolment is not None
        assert decided.enrolment.status == StatusWrite(1, 501)
        assert decided.enrolment.completed_on_ms is None
        assert decided.completion is None


def test_without_the_filter_a_debt_is_paid_though_the_course_requires_more_by_now() -> None:
    decided = decide(TWO_DONE, row(2, completed_on=77), rules=UNFILTERED, owed_ms=77)
    assert decided.verdict is Verdict.COMPLETED
    assert decided.enrolment is None
    assert decided.completion == Completion(KEY, 77)


@pytest.mark.parametrize("status", [1, 2])
def test_without_the_filter_a_completedon_stays_and_is_announced(status: int) -> None:
    decided = decide(ALL_DONE, row(status, completed_on=55), rules=UNFILTERED, owed_ms=77)
    assert decided.verdict is Verdict.COMPLETED
    assert decided.enrolment is not None
    assert decided.enrolment.status == StatusWrite(2, STAMP_US)
    assert decided.enrolment.completed_on_ms is None
    assert decided.completion == Completion(KEY, 55)


def test_with_the_filter_an_old_completedon_of_an_open_enrolment_is_replaced() -> None:
    decided = decide(ALL_DONE, row(1, completed_on=55))
    assert decided.enrolment is not None
    assert decided.enrolment.completed_on_ms == NOW_MS
    assert decided.completion == Completion(KEY, NOW_MS)


@pytest.mark.parametrize("rules", [Rules(), UNFILTERED])
def test_a_retired_course_gets_its_units_alone(rules: Rules) -> None:
    decided = decide(ALL_DONE, row(1), relations=NO_LEAF_NODES, rules=rules, collection_status=CollectionStatus.RETIRED)
    assert decided.verdict is Verdict.RETIRED
    assert counts(decided) == [("unit1", 2.0)]
    assert (decided.enrolment, decided.completion) == (None, None)


def test_a_retired_course_without_module_aggregates_gets_nothing() -> None:
    decided = decide(
        ALL_DONE,
        row(1),
        relations=NO_LEAF_NODES,
        rules=Rules(module_aggregates_enabled=False),
        collection_status=CollectionStatus.RETIRED,
    )
    assert decided == Plan(Verdict.RETIRED)


def test_a_debt_is_paid_though_the_course_was_retired_since() -> None:
    decided = decide(
        ALL_DONE,
        row(2, completed_on=77),
        relations=NO_LEAF_NODES,
        owed_ms=77,
        collection_status=CollectionStatus.RETIRED,
    )
    assert decided.verdict is Verdict.RETIRED
    assert decided.completion == Completion(KEY, 77)


@pytest.mark.parametrize("status", [None, CollectionStatus.NOT_RETIRED])
def test_a_debt_is_paid_though_the_leaf_nodes_are_missing(status: CollectionStatus | None) -> None:
    completed = row(2, completed_on=REQUESTED_MS)
    decided = decide(ALL_DONE, completed, relations=NO_LEAF_NODES, owed_ms=REQUESTED_MS, collection_status=status)
    assert decided.verdict is Verdict.COMPLETED
    assert decided.enrolment is None
    assert decided.completion == Completion(KEY, REQUESTED_MS)


@pytest.mark.parametrize("status", [None, CollectionStatus.NOT_RETIRED])
def test_a_repeated_request_announces_though_the_leaf_nodes_are_missing(status: CollectionStatus | None) -> None:
    # as after a Redis that lost both the ledger and the relation sets
    completed = row(2, completed_on=REQUESTED_MS)
    decided = decide(ALL_DONE, completed, relations=NO_LEAF_NODES, repeated=True, collection_status=status)
    assert decided.verdict is Verdict.ALREADY_COMPLETED
    assert (decided.enrolment, decided.aggregates) == (None, ())
    assert decided.completion == Completion(KEY, REQUESTED_MS)
    # an older completion was announced, or nobody's to announce
    older = row(2, completed_on=REQUESTED_MS - REPEATED_SKEW_MS - 1)
    with pytest.raises(RelationsMissing):
        decide(ALL_DONE, older, relations=NO_LEAF_NODES, repeated=True, collection_status=status)


def test_missing_leaf_nodes_fail_the_request_and_name_the_course() -> None:
    with pytest.raises(RelationsMissing, match=r"course001") as raised:
        decide(ALL_DONE, row(1), relations=NO_LEAF_NODES, collection_status=CollectionStatus.NOT_RETIRED)
    assert "basePath" not in str(raised.value)
    with pytest.raises(RelationsMissing, match=r"course001.*service\.search\.basePath is not set"):
        decide(ALL_DONE, row(1), relations=NO_LEAF_NODES, collection_status=None)


def test_leaf_nodes_that_are_there_make_the_collection_status_irrelevant() -> None:
    decided = decide(ALL_DONE, row(1), collection_status=CollectionStatus.RETIRED)
    assert decided.verdict is Verdict.COMPLETED


def test_required_nodes() -> None:
    relations = CourseRelations({"unit": frozenset("ab")}, {"unit": frozenset("bc")})
    assert required_nodes("unit", relations, optional_enabled=True) == frozenset("a")
    assert required_nodes("unit", relations, optional_enabled=False) == frozenset("ab")
    assert required_nodes("other", relations, optional_enabled=True) is None


def test_completed_count() -> None:
    consumption = [Consumption("a", 2), Consumption("b", 1), Consumption("c", 2)]
    assert completed_count(frozenset("abd"), consumption) == 1
    assert completed_count(frozenset(), consumption) == 0
    assert completed_count(None, consumption) == 0


def test_unit_ids() -> None:
    consumption = [Consumption("do_R1", 0), Consumption("do_R3", 2), Consumption("unknown", 2)]
    assert unit_ids(consumption, RELATIONS, "course001") == {"unit1", "unit2"}
    assert unit_ids([], RELATIONS, "course001") == frozenset()


def test_needs_search() -> None:
    assert needs_search(NO_LEAF_NODES, "course001")
    assert not needs_search(RELATIONS, "course001")
    # a set that is there and empty is not missing
    assert not needs_search(CourseRelations({"course001": frozenset()}), "course001")


@pytest.mark.parametrize(("last_us", "conflict"), [(None, False), (999, False), (1000, True), (1001, True)])
def test_clock_conflict(last_us: int | None, *, conflict: bool) -> None:
    assert clock_conflict(row(1, last_us=last_us), 1000) is conflict
    assert not clock_conflict(None, 1000)


@pytest.mark.parametrize("status", [None, StatusWrite(2, STAMP_US - 1)])
def test_a_completedon_without_its_status_is_refused(status: StatusWrite | None) -> None:
    with pytest.raises(ValueError, match="same stamp"):
        EnrolmentWrite(KEY, 1, {}, NOW_MS, STAMP_US, status, NOW_MS)
