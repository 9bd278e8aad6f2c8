"""What holds of every plan, whatever the learner and the course; and the second opinion of tests/oracle.py."""

import dataclasses
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciliation.errors import RelationsMissing
from reconciliation.model import (
    COMPLETED,
    IN_PROGRESS,
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
    Verdict,
)
from reconciliation.progress import Rules, clock_conflict, plan
from tests import oracle

KEY = EnrolmentKey("user", "course", "batch")
NOW_MS = 1_700_000_000_000
STAMP_US = NOW_MS * 1000
CONTENTS = [f"content{number}" for number in range(6)]
NODES = ["course", "unit1", "unit2", "unit3"]

content_sets = st.frozensets(st.sampled_from([*CONTENTS, "removed"]))
relation_sets = st.builds(
    CourseRelations,
    leaf_nodes=st.dictionaries(st.sampled_from(NODES), content_sets).map(
        lambda sets: {"course": frozenset(CONTENTS), **sets}
    ),
    optional_nodes=st.dictionaries(st.sampled_from(NODES), content_sets),
    ancestors=st.dictionaries(st.sampled_from(CONTENTS), st.frozensets(st.sampled_from(NODES))),
)
consumptions = st.dictionaries(
    st.sampled_from([*CONTENTS, "foreign"]), st.integers(min_value=-1, max_value=4), min_size=1
)
times_us = st.integers(min_value=STAMP_US - 1000, max_value=STAMP_US + 1000)


@st.composite
def enrolment_rows(draw: st.DrawFn) -> EnrolmentRow:
    status = draw(st.sampled_from([None, 0, 1, 2]))
    completed_on = draw(st.none() | st.integers(min_value=NOW_MS - 10**6, max_value=NOW_MS))
    status_us = None if status is None else draw(times_us)
    others_us = draw(st.none() | times_us)
    written = [written_us for written_us in (status_us, others_us) if written_us is not None]
    return EnrolmentRow(status, completed_on, status_us, max(written, default=None))


all_rules = st.builds(Rules, st.booleans(), st.booleans(), st.booleans())
attempts = st.builds(
    Attempt,
    st.just("entry"),
    st.just(KEY),
    requested_ms=st.just(NOW_MS - 10**5),
    owed_ms=st.none() | st.just(NOW_MS - 5000),
    repeated=st.booleans(),
    repairing=st.booleans(),
)


def decide(
    attempt: Attempt,
    statuses: dict[str, int],
    enrolment: EnrolmentRow | None,
    relations: CourseRelations,
    rules: Rules,
    *,
    stamp_us: int = STAMP_US,
    now_ms: int = NOW_MS,
) -> Plan:
    look = Look(tuple(Consumption(content, status) for content, status in statuses.items()), enrolment)
    return plan(attempt, look, relations, rules, stamp_us=stamp_us, now_ms=now_ms, collection_status=None)


def written(row: EnrolmentRow | None, write: EnrolmentWrite | None) -> EnrolmentRow | None:
    """Do what Cassandra does with one write: the later cell stays, of two with one stamp the greater value."""
    if write is None:
        return row
    before = row or EnrolmentRow(None, None, None, None)
    status, status_us = before.status, before.status_written_us
    if write.status is not None:
        cells = [(write.status.stamp_us, write.status.status)]
        if status is not None and status_us is not None:
            cells.append((status_us, status))
        status_us, status = max(cells)
    completed_on = before.completed_on_ms if write.completed_on_ms is None else write.completed_on_ms
    stamps = [write.stamp_us, *(stamp for stamp in (status_us, before.last_written_us) if stamp is not None)]
    return EnrolmentRow(status, completed_on, status_us, max(stamps))


@given(attempts, consumptions, st.none() | enrolment_rows(), relation_sets, all_rules, st.randoms())
def test_the_order_of_the_consumption_rows_does_not_matter(
    attempt: Attempt,
    statuses: dict[str, int],
    row: EnrolmentRow | None,
    relations: CourseRelations,
    rules: Rules,
    random: Random,
) -> None:
    items = list(statuses.items())
    random.shuffle(items)
    assert decide(attempt, dict(items), row, relations, rules) == decide(attempt, statuses, row, relations, rules)


@given(attempts, consumptions, enrolment_rows(), relation_sets, all_rules, st.sampled_from(CONTENTS))
def test_completing_one_more_content_never_lowers_a_count(
    attempt: Attempt,
    statuses: dict[str, int],
    row: EnrolmentRow,
    relations: CourseRelations,
    rules: Rules,
    content: str,
) -> None:
    before = decide(attempt, statuses, row, relations, rules)
    after = decide(attempt, {**statuses, content: COMPLETED}, row, relations, rules)
    later = {write.activity_id: write.completed_count for write in after.aggregates}
    for write in before.aggregates:
        assert later[write.activity_id] >= write.completed_count
    if before.verdict is Verdict.COMPLETED:
        assert after.verdict is Verdict.COMPLETED


@given(attempts, consumptions, enrolment_rows(), relation_sets, st.booleans(), st.booleans())
def test_optional_nodes_never_raise_a_count_and_never_undo_a_completion(
    attempt: Attempt,
    statuses: dict[str, int],
    row: EnrolmentRow,
    relations: CourseRelations,
    modules: bool,
    filtered: bool,
) -> None:
    strict = decide(attempt, statuses, row, relations, Rules(modules, filtered, optional_nodes_enabled=False))
    lenient = decide(attempt, statuses, row, relations, Rules(modules, filtered, optional_nodes_enabled=True))
    for narrow, wide in zip(lenient.aggregates, strict.aggregates, strict=True):
        assert narrow.activity_id == wide.activity_id
        assert narrow.completed_count <= wide.completed_count
    if strict.verdict is Verdict.COMPLETED:
        assert lenient.verdict is Verdict.COMPLETED


@given(attempts, consumptions, st.none() | enrolment_rows(), relation_sets, all_rules)
def test_a_second_reconciliation_changes_nothing_but_times(
    attempt: Attempt,
    statuses: dict[str, int],
    row: EnrolmentRow | None,
    relations: CourseRelations,
    rules: Rules,
) -> None:
    first_us = STAMP_US + 2000
    first = decide(attempt, statuses, row, relations, rules, stamp_us=first_us)
    after = written(row, first.enrolment)
    fresh = dataclasses.replace(attempt, owed_ms=None, repeated=False)
    second = decide(fresh, statuses, after, relations, rules, stamp_us=first_us + 5000, now_ms=NOW_MS + 5)
    again = written(after, second.enrolment)
    assert [(write.activity_id, write.completed_count) for write in second.aggregates] == [
        (write.activity_id, write.completed_count) for write in first.aggregates
    ]
    assert (row is None) == (after is None) or not rules.filter_processed_enrolments
    if after is not None and again is not None:
        assert (again.status, again.completed_on_ms) == (after.status, after.completed_on_ms)
    if rules.filter_processed_enrolments and first.completion is not None:
        assert second.completion is None


@given(attempts, consumptions, enrolment_rows(), relation_sets, all_rules)
def test_a_completion_that_was_written_but_not_announced_is_announced_by_the_next_try(
    attempt: Attempt, statuses: dict[str, int], row: EnrolmentRow, relations: CourseRelations, rules: Rules
) -> None:
    stamp_us = STAMP_US + 2000
    first = decide(attempt, statuses, row, relations, rules, stamp_us=stamp_us)
    if first.completion is None:
        return
    owing = dataclasses.replace(attempt, owed_ms=first.completion.completed_on_ms)
    after = written(row, first.enrolment)
    next_try = decide(owing, statuses, after, relations, rules, stamp_us=stamp_us + 5000, now_ms=NOW_MS + 5)
    assert next_try.completion == first.completion


@given(consumptions, st.none() | enrolment_rows(), relation_sets, all_rules, st.integers(1, 5000))
def test_a_status_1_never_hides_a_completion_that_was_computed_after_its_look(
    statuses: dict[str, int],
    row: EnrolmentRow | None,
    relations: CourseRelations,
    rules: Rules,
    behind_us: int,
) -> None:
    """The completion's host may have a clock behind ours; it looked at the same row, or at a later one."""
    stamp_us = STAMP_US + 5000
    ours = decide(Attempt("entry", KEY, NOW_MS), statuses, row, relations, rules, stamp_us=stamp_us)
    # without a row there is nothing whose write time could be known: both stamps are clocks
    other_us = (
        stamp_us if row is None or row.last_written_us is None else max(stamp_us - behind_us, row.last_written_us + 1)
    )
    assert not clock_conflict(row, other_us)
    theirs = decide(
        Attempt("other", KEY, NOW_MS),
        dict.fromkeys(CONTENTS, COMPLETED) | {"removed": COMPLETED},
        row,
        relations,
        rules,
        stamp_us=other_us,
    )
    if ours.enrolment is None or ours.enrolment.status is None or ours.verdict is Verdict.COMPLETED:
        return
    assert ours.enrolment.status.status == IN_PROGRESS
    assert theirs.verdict is Verdict.COMPLETED
    one_way = written(written(row, ours.enrolment), theirs.enrolment)
    other_way = written(written(row, theirs.enrolment), ours.enrolment)
    assert one_way is not None
    assert other_way is not None
    assert one_way.status == other_way.status == COMPLETED


def split_relations(course: str, relations: dict[str, set[str]]) -> CourseRelations:
    kinds: dict[str, dict[str, frozenset[str]]] = {"leafnodes": {}, "optionalnodes": {}, "ancestors": {}}
    for key, members in relations.items():
        of_course, node, kind = key.split(":")
        assert of_course == course
        kinds[kind][node] = frozenset(members)
    return CourseRelations(kinds["leafnodes"], kinds["optionalnodes"], kinds["ancestors"])


def decide_case(case: oracle.Case) -> Plan:
    statuses = [(row["contentid"], 1 if row["status"] is None else row["status"]) for row in case["consumption"]]
    row = case["enrolment"]
    switches = case["switches"]
    return plan(
        Attempt("entry", EnrolmentKey(case["user"], case["course"], case["batch"]), requested_ms=NOW_MS),
        Look(
            tuple(Consumption(*item) for item in statuses),
            row and EnrolmentRow(row["status"], row["completedon"], row["status"] and 500, 900),
        ),
        split_relations(case["course"], case["relations"]),
        Rules(switches["module_aggregates"], switches["filter_processed"], switches["optional_nodes"]),
        stamp_us=STAMP_US,
        now_ms=NOW_MS,
        collection_status=CollectionStatus.RETIRED
        if case["course_status"] == "Retired"
        else CollectionStatus.NOT_RETIRED,
    )


def left_behind(case: oracle.Case, decided: Plan) -> oracle.Expected:
    """Say what the plan leaves behind in the oracle's words."""
    write, enrolment = decided.enrolment, case["enrolment"] and dict(case["enrolment"])
    if write is not None:
        before = enrolment or {"status": None, "completedon": None}
        kept: Any = before["completedon"]
        enrolment = {
            "status": before["status"] if write.status is None else write.status.status,
            "progress": write.progress,
            "contentstatus": dict(write.content_status),
            "completedon": kept if write.completed_on_ms is None else write.completed_on_ms,
        }
    announced = [] if decided.completion is None else ["certificate", "audit"]
    return {
        "fails": False,
        "aggregates": {aggregate.activity_id: aggregate.completed_count for aggregate in decided.aggregates},
        "enrolment": enrolment,
        "enrolment_written": write is not None,
        "events": [
            {"kind": kind, "completedon": decided.completion and decided.completion.completed_on_ms}
            for kind in announced
        ],
    }


def at_now(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: at_now(inner) for name, inner in content.items()}
    if isinstance(content, list):
        return [at_now(inner) for inner in content]
    return NOW_MS if content == oracle.NOW else content


def test_the_oracle_agrees_on_random_courses_and_learners() -> None:
    random = Random(20240517)
    seen: Counter[str] = Counter()
    for number in range(4000):
        case = oracle.make_case(random, number)
        expected = at_now(oracle.expect(case))
        if expected["fails"]:
            seen["fails"] += 1
            with pytest.raises(RelationsMissing):
                decide_case(case)
            continue
        decided = decide_case(case)
        seen[decided.verdict] += 1
        assert left_behind(case, decided) == expected, case
    # each way through the steps was taken often enough to mean something
    assert all(seen[verdict] >= 40 for verdict in [*Verdict, "fails"]), seen


def test_the_same_seed_makes_the_same_cases() -> None:
    assert oracle.make_case(Random(7), 1) == oracle.make_case(Random(7), 1)


def test_the_oracle_knows_the_known_examples() -> None:
    case = {
        "user": "user001",
        "course": "course001",
        "batch": "Batch1",
        "consumption": [{"contentid": f"do_R{number}", "status": 2} for number in (1, 2, 3)],
        "enrolment": {"status": 1, "completedon": None},
        "relations": {
            "course001:course001:leafnodes": {"do_R1", "do_R2", "do_R3"},
            "course001:unit1:leafnodes": {"do_R1", "do_R3"},
            "course001:unit2:leafnodes": {"do_R2", "do_R3"},
            "course001:do_R1:ancestors": {"course001", "unit1"},
            "course001:do_R2:ancestors": {"course001", "unit2"},
            "course001:do_R3:ancestors": {"course001", "unit1", "unit2"},
        },
        "switches": {"module_aggregates": True, "filter_processed": True, "optional_nodes": True},
        "course_status": "Live",
    }
    expected = oracle.expect(case)
    assert expected["aggregates"] == {"course001": 3.0, "unit1": 2.0, "unit2": 2.0}
    assert expected["enrolment"]["status"] == 2
    assert expected["enrolment"]["progress"] == 3
    assert [event["kind"] for event in expected["events"]] == ["certificate", "audit"]
    assert decide_case(case).completion == Completion(EnrolmentKey("user001", "course001", "Batch1"), NOW_MS)


@given(attempts, consumptions, st.none() | enrolment_rows(), relation_sets, all_rules)
def test_repairing_changes_nothing_but_a_completion_without_its_time(
    attempt: Attempt,
    statuses: dict[str, int],
    row: EnrolmentRow | None,
    relations: CourseRelations,
    rules: Rules,
) -> None:
    click = decide(dataclasses.replace(attempt, repairing=False), statuses, row, relations, rules)
    repaired = decide(dataclasses.replace(attempt, repairing=True), statuses, row, relations, rules)
    if repaired == click:
        return
    assert rules.filter_processed_enrolments
    assert row is not None
    assert (row.status, row.completed_on_ms) == (COMPLETED, None)
    assert (click.verdict, click.enrolment, click.completion) == (Verdict.ALREADY_COMPLETED, None, None)
    # it is what the learner would have got whose completion is written now
    in_progress = dataclasses.replace(row, status=IN_PROGRESS)
    assert repaired == decide(attempt, statuses, in_progress, relations, rules)
    assert repaired.verdict is Verdict.COMPLETED
    assert repaired.aggregates == click.aggregates


@given(consumptions, relation_sets, st.integers(min_value=NOW_MS - 10**6, max_value=NOW_MS))
def test_a_repair_that_was_written_is_announced_and_not_made_again(
    statuses: dict[str, int], relations: CourseRelations, owed_ms: int
) -> None:
    attempt = Attempt("entry", KEY, NOW_MS, repairing=True)
    row = EnrolmentRow(COMPLETED, None, STAMP_US - 5, STAMP_US - 5)
    first = decide(attempt, statuses, row, relations, Rules())
    if first.completion is None:
        assert first.verdict is Verdict.ALREADY_COMPLETED
        return
    after = written(row, first.enrolment)
    again = dataclasses.replace(attempt, owed_ms=first.completion.completed_on_ms)
    later = decide(again, statuses, after, relations, Rules(), stamp_us=STAMP_US + 10, now_ms=NOW_MS + 10)
    assert (later.enrolment, later.completion) == (None, first.completion)
    # one that was recorded and never written is written with the time that was recorded
    owing = dataclasses.replace(attempt, owed_ms=owed_ms)
    recorded = decide(owing, statuses, row, relations, Rules())
    assert recorded.completion == Completion(KEY, owed_ms)
