"""Of which kind a difference is that shadow mode finds (docs/shadow.md)."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciliation.comparison import EnrolmentCells, LearnerRows, TableState, after_plan
from reconciliation.course import Course
from reconciliation.model import (
    Attempt,
    CollectionStatus,
    Consumption,
    CourseRelations,
    EnrolmentKey,
    EnrolmentRow,
    Look,
)
from reconciliation.progress import Rules
from reconciliation.shadow import MEANINGS, Comparison, Difference, Kind, compare, expectations

KEY = EnrolmentKey("user", "course", "batch")
REQUESTED_MS = 1_700_000_000_000
LONG_BEFORE_MS = REQUESTED_MS - 10**9
ATTEMPT = Attempt("entry", KEY, REQUESTED_MS)
RULES = Rules()
#: a and b are required, x is optional; one unit holds all
COURSE = Course(
    CourseRelations(
        leaf_nodes={"course": frozenset({"a", "b", "x"}), "unit": frozenset({"a", "b", "x"})},
        optional_nodes={"course": frozenset({"x"}), "unit": frozenset({"x"})},
        ancestors={content: frozenset({"course", "unit"}) for content in ("a", "b", "x")},
    )
)
PLAIN = Course(CourseRelations(COURSE.relations.leaf_nodes, {}, COURSE.relations.ancestors))

PLAIN_OF_TWO = Course(
    CourseRelations(
        leaf_nodes={"course": frozenset({"a", "b"}), "unit": frozenset({"a", "b"})},
        ancestors=COURSE.relations.ancestors,
    )
)


def compared(
    statuses: dict[str, int],
    cells: EnrolmentCells | None,
    counts: dict[str, float],
    *,
    rules: Rules = RULES,
    course: Course = COURSE,
    consumed_ms: int = LONG_BEFORE_MS,
    row_ms: int = REQUESTED_MS + 100,
) -> Comparison:
    row = None if cells is None else EnrolmentRow(cells.status, cells.completed_on_ms, row_ms * 1000, row_ms * 1000)
    rows = LearnerRows(
        Look(tuple(Consumption(*item) for item in statuses.items()), row),
        cells,
        dict.fromkeys(statuses, consumed_ms * 1000),
    )
    now_ms = REQUESTED_MS + 60_000
    expected = expectations(ATTEMPT, rows, course, rules, stamp_us=now_ms * 1000, now_ms=now_ms)
    return compare(ATTEMPT, rows, TableState(cells, counts), expected, rules, None)


def kinds(comparison: Comparison) -> list[tuple[Kind, str]]:
    return [(difference.kind, difference.activity_id) for difference in comparison.differences]


HALFWAY = {"a": 2, "b": 1}
DONE = {"a": 2, "b": 2}
HALFWAY_ROW = EnrolmentCells(1, None, 1, HALFWAY)
DONE_ROW = EnrolmentCells(2, REQUESTED_MS + 50, 2, DONE)
ONE: dict[str, float] = {"course": 1.0, "unit": 1.0}
TWO: dict[str, float] = {"course": 2.0, "unit": 2.0}


@pytest.mark.parametrize(
    ("statuses", "cells", "counts", "expected"),
    [
        (HALFWAY, HALFWAY_ROW, ONE, []),
        (DONE, DONE_ROW, TWO, []),
        (HALFWAY, None, ONE, []),
        ({}, EnrolmentCells(2, None, 9, None), {"course": 7.0}, []),
        (HALFWAY, HALFWAY_ROW, {**ONE, "course": 2.0}, [(Kind.COURSE_AGGREGATE, "course")]),
        (HALFWAY, HALFWAY_ROW, {"unit": 1.0}, [(Kind.COURSE_AGGREGATE, "course")]),
        (HALFWAY, HALFWAY_ROW, {**ONE, "unit": 0.0, "other": 9.0}, [(Kind.UNIT_AGGREGATE, "unit")]),
        (HALFWAY, replace(DONE_ROW, progress=1, content_status=HALFWAY), ONE, [(Kind.COMPLETED_THOUGH_INCOMPLETE, "")]),
        (DONE, replace(DONE_ROW, status=1, completed_on_ms=None), TWO, [(Kind.INCOMPLETE_THOUGH_COMPLETE, "")]),
        (DONE, replace(DONE_ROW, status=None), TWO, [(Kind.INCOMPLETE_THOUGH_COMPLETE, "")]),
        (DONE, replace(DONE_ROW, completed_on_ms=None), TWO, [(Kind.COMPLETION_WITHOUT_DATE, "")]),
        (
            HALFWAY,
            replace(HALFWAY_ROW, status=2),
            ONE,
            [(Kind.COMPLETION_WITHOUT_DATE, ""), (Kind.COMPLETED_THOUGH_INCOMPLETE, "")],
        ),
        (HALFWAY, replace(HALFWAY_ROW, status=0), ONE, [(Kind.STATUS, "")]),
        (HALFWAY, replace(HALFWAY_ROW, progress=0), ONE, [(Kind.PROGRESS, "")]),
        (HALFWAY, replace(HALFWAY_ROW, content_status={"a": 2}), ONE, [(Kind.CONTENT_STATUS, "")]),
        (HALFWAY, replace(HALFWAY_ROW, content_status=None), ONE, [(Kind.CONTENT_STATUS, "")]),
    ],
)
def test_each_difference_has_its_kind(
    statuses: dict[str, int],
    cells: EnrolmentCells | None,
    counts: dict[str, float],
    expected: list[tuple[Kind, str]],
) -> None:
    found = compared(statuses, cells, counts, course=PLAIN_OF_TWO)
    assert kinds(found) == expected
    assert found.was_compared
    assert not found.moved_on


def test_the_filter_hides_no_wrong_completion_and_makes_no_row() -> None:
    wrong = replace(DONE_ROW, completed_on_ms=LONG_BEFORE_MS, progress=1, content_status=HALFWAY)
    assert kinds(compared(HALFWAY, wrong, ONE, course=PLAIN_OF_TWO)) == [(Kind.COMPLETED_THOUGH_INCOMPLETE, "")]
    unfiltered = Rules(filter_processed_enrolments=False)
    assert kinds(compared(DONE, None, TWO, rules=unfiltered, course=PLAIN_OF_TWO)) == [(Kind.ENROLMENT_MISSING, "")]


def test_what_was_completed_before_the_request_is_told_apart() -> None:
    before = replace(DONE_ROW, completed_on_ms=LONG_BEFORE_MS, progress=1, content_status={"a": 2})
    after = replace(before, completed_on_ms=REQUESTED_MS + 50)
    left = [(Kind.LEFT_AS_COMPLETED, ""), (Kind.LEFT_AS_COMPLETED, "")]
    wrong = [(Kind.PROGRESS, ""), (Kind.CONTENT_STATUS, "")]
    assert kinds(compared(DONE, before, TWO, course=PLAIN_OF_TWO)) == left
    assert kinds(compared(DONE, after, TWO, course=PLAIN_OF_TWO)) == wrong
    unfiltered = Rules(filter_processed_enrolments=False)
    assert kinds(compared(DONE, before, TWO, course=PLAIN_OF_TWO, rules=unfiltered)) == wrong


def test_optional_contents_explain_what_a_job_leaves_that_requires_them() -> None:
    # all but the optional content is completed: to us complete, to the other job 2 of 3
    other = EnrolmentCells(1, None, 2, DONE)
    assert kinds(compared(DONE, other, TWO)) == [(Kind.OPTIONAL_NODES, "")]
    # it counts an optional content that is completed
    all_three = {**DONE, "x": 2}
    theirs = EnrolmentCells(2, REQUESTED_MS + 50, 3, all_three)
    assert kinds(compared(all_three, theirs, {"course": 3.0, "unit": 3.0})) == [
        (Kind.OPTIONAL_NODES, ""),
        (Kind.OPTIONAL_NODES, "course"),
        (Kind.OPTIONAL_NODES, "unit"),
    ]
    # what they do not explain keeps its kind
    assert kinds(compared(all_three, replace(theirs, progress=7), {"course": 3.0, "unit": 1.0})) == [
        (Kind.PROGRESS, ""),
        (Kind.OPTIONAL_NODES, "course"),
        (Kind.UNIT_AGGREGATE, "unit"),
    ]
    strict = Rules(optional_nodes_enabled=False)
    assert kinds(compared(DONE, DONE_ROW, TWO, rules=strict)) == [(Kind.COMPLETED_THOUGH_INCOMPLETE, "")]


def test_a_learner_who_moved_on_says_nothing() -> None:
    later = compared(DONE, HALFWAY_ROW, ONE, consumed_ms=REQUESTED_MS + 1)
    assert later.moved_on
    assert later.differences == ()
    assert not compared(DONE, HALFWAY_ROW, ONE, consumed_ms=REQUESTED_MS).moved_on
    # rows that agree have been answered since
    assert not compared(DONE, DONE_ROW, TWO, course=PLAIN_OF_TWO, consumed_ms=REQUESTED_MS + 1).moved_on


def test_rows_that_nobody_wrote_since_the_request_are_told_as_such() -> None:
    assert not compared(DONE, HALFWAY_ROW, ONE, row_ms=LONG_BEFORE_MS).answered
    assert compared(DONE, HALFWAY_ROW, ONE).answered


def test_of_a_retired_course_the_units_alone_are_compared() -> None:
    retired = Course(
        CourseRelations({"unit": frozenset({"a"})}, {}, {"a": frozenset({"course", "unit"})}), CollectionStatus.RETIRED
    )
    found = compared({"a": 2}, EnrolmentCells(2, None, 9, None), {"unit": 0.0, "course": 9.0}, course=retired)
    assert kinds(found) == [(Kind.UNIT_AGGREGATE, "unit")]


def test_differences_are_told_content_by_content_and_are_never_long() -> None:
    row = replace(HALFWAY_ROW, content_status={"a": 2, "b": 2, "gone": 1})
    (difference,) = compared(HALFWAY, row, ONE, course=PLAIN_OF_TWO).differences
    assert difference == Difference(Kind.CONTENT_STATUS, "b: 1, gone: none", "b: 2, gone: 1")
    many = {f"content{number:04}" * 9: 1 for number in range(500)}
    (difference,) = [it for it in compared(many, HALFWAY_ROW, ONE).differences if it.kind is Kind.CONTENT_STATUS]
    assert len(difference.expected) <= 301


cells = st.builds(
    EnrolmentCells,
    st.sampled_from([None, 0, 1, 2]),
    st.sampled_from([None, LONG_BEFORE_MS, REQUESTED_MS + 50]),
    st.none() | st.integers(0, 3),
    st.none() | st.dictionaries(st.sampled_from("abx"), st.integers(0, 2)),
)


@given(
    st.dictionaries(st.sampled_from(["a", "b", "x", "foreign"]), st.integers(0, 2)),
    st.none() | cells,
    st.builds(Rules, st.booleans(), st.booleans(), st.booleans()),
    st.sampled_from([COURSE, PLAIN, PLAIN_OF_TWO]),
    st.booleans(),
)
def test_rows_that_either_way_of_counting_leaves_differ_in_nothing_unexplained(
    statuses: dict[str, int], row: EnrolmentCells | None, rules: Rules, course: Course, strictly: bool
) -> None:
    """Whatever stood there: what a job writes that reads everything afresh and filters nothing is right."""
    found = row and EnrolmentRow(row.status, row.completed_on_ms, 1, 1)
    rows = LearnerRows(Look(tuple(Consumption(*item) for item in statuses.items()), found), row)
    now_ms = REQUESTED_MS + 50
    expected = expectations(ATTEMPT, rows, course, rules, stamp_us=now_ms * 1000, now_ms=now_ms)
    state = after_plan(TableState(row, {}), expected.strict if strictly else expected.ours)
    left = state.enrolment
    counts = dict(state.completed_counts)
    told = kinds(compared(statuses, left, counts, rules=rules, course=course))
    explained = {Kind.OPTIONAL_NODES} if strictly and rules.optional_nodes_enabled else set()
    lacking = left is not None and left.status == 2 and left.completed_on_ms is None
    assert {kind for kind, _ in told} <= explained
    assert not lacking or not statuses


def test_every_kind_has_a_meaning_and_a_row_in_the_documentation() -> None:
    page = Path("docs/shadow.md").read_text(encoding="utf-8")
    assert set(MEANINGS) == set(Kind)
    assert [kind for kind in Kind if f"| `{kind}` |" not in page] == []
