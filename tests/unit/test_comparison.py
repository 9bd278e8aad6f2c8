"""What the tables hold beside what a plan leaves there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciliation.comparison import (
    AggregateRow,
    Cell,
    Change,
    EnrolmentCells,
    TableState,
    after_plan,
    changes,
    table_state,
)
from reconciliation.model import (
    COMPLETED,
    AggregateWrite,
    Attempt,
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
from reconciliation.progress import Rules, plan

KEY = EnrolmentKey("user", "course", "batch")
NOW_MS = 1_700_000_000_000
CONTENTS = ["a", "b", "c", "d"]
NODES = ["course", "unit1", "unit2"]

relation_sets = st.builds(
    CourseRelations,
    leaf_nodes=st.dictionaries(st.sampled_from(NODES), st.frozensets(st.sampled_from(CONTENTS))).map(
        lambda sets: {"course": frozenset(CONTENTS), **sets}
    ),
    optional_nodes=st.dictionaries(st.sampled_from(NODES), st.frozensets(st.sampled_from(CONTENTS))),
    ancestors=st.dictionaries(st.sampled_from(CONTENTS), st.frozensets(st.sampled_from(NODES))),
)
consumptions = st.dictionaries(st.sampled_from([*CONTENTS, "foreign"]), st.integers(0, 2))
enrolments = st.none() | st.builds(
    EnrolmentCells,
    status=st.sampled_from([None, 0, 1, 2]),
    completed_on_ms=st.none() | st.integers(NOW_MS - 10**6, NOW_MS),
    progress=st.none() | st.integers(0, 5),
    content_status=st.none() | st.dictionaries(st.sampled_from(CONTENTS), st.integers(0, 2)),
)
states = st.builds(
    TableState, enrolments, st.dictionaries(st.sampled_from([*NODES, "unit9"]), st.floats(0, 5, allow_nan=False))
)
all_rules = st.builds(Rules, st.booleans(), st.booleans(), st.booleans())


def planned(state: TableState, statuses: dict[str, int], relations: CourseRelations, rules: Rules) -> Plan:
    cells = state.enrolment
    row = None if cells is None else EnrolmentRow(cells.status, cells.completed_on_ms, cells.status and 500, 900)
    look = Look(tuple(Consumption(content, status) for content, status in statuses.items()), row)
    return plan(
        Attempt("entry", KEY, NOW_MS),
        look,
        relations,
        rules,
        stamp_us=NOW_MS * 1000,
        now_ms=NOW_MS,
        collection_status=None,
    )


@given(states, consumptions, relation_sets, all_rules)
def test_once_a_plan_is_written_nothing_differs_any_more(
    state: TableState, statuses: dict[str, int], relations: CourseRelations, rules: Rules
) -> None:
    written = after_plan(state, planned(state, statuses, relations, rules))
    again = after_plan(written, planned(written, statuses, relations, rules))
    assert changes(written, again) == ()


@given(states, consumptions, relation_sets, all_rules)
def test_each_change_names_what_stood_there_and_what_comes(
    state: TableState, statuses: dict[str, int], relations: CourseRelations, rules: Rules
) -> None:
    written = after_plan(state, planned(state, statuses, relations, rules))
    for change in changes(state, written):
        assert change.before != change.after
        if change.cell is Cell.COMPLETED_COUNT:
            assert change.before == state.completed_counts.get(change.activity_id)
            assert change.after == written.completed_counts[change.activity_id]
    # what no plan writes is told of nowhere
    assert "unit9" not in {change.activity_id for change in changes(state, written)}
    assert written.completed_counts.get("unit9") == state.completed_counts.get("unit9")


def test_every_cell_is_compared() -> None:
    before = TableState(EnrolmentCells(1, None, 1, {"a": 2}), {"course": 1.0, "unit1": 1.0})
    write = EnrolmentWrite(KEY, 2, {"a": 2, "b": 2}, NOW_MS, 7, StatusWrite(COMPLETED, 7), NOW_MS)
    aggregates = tuple(AggregateWrite(it, "user", "batch", 2.0, NOW_MS, 7) for it in ("unit1", "unit2", "course"))
    assert changes(before, after_plan(before, Plan(Verdict.COMPLETED, aggregates, write))) == (
        Change(Cell.STATUS, 1, 2),
        Change(Cell.COMPLETED_ON, None, NOW_MS),
        Change(Cell.PROGRESS, 1, 2),
        Change(Cell.CONTENT_STATUS, {"a": 2}, {"a": 2, "b": 2}),
        Change(Cell.COMPLETED_COUNT, 1.0, 2.0, "course"),
        Change(Cell.COMPLETED_COUNT, 1.0, 2.0, "unit1"),
        Change(Cell.COMPLETED_COUNT, None, 2.0, "unit2"),
    )


def test_a_row_without_a_count_is_one_that_is_missing() -> None:
    rows = {"course": AggregateRow(None, None, ("score:x",)), "unit1": AggregateRow(0.0, NOW_MS)}
    assert table_state(None, rows) == TableState(None, {"unit1": 0.0})


@pytest.mark.parametrize("empty", [None, {}])
def test_an_empty_contentstatus_is_none(empty: dict[str, int] | None) -> None:
    before = TableState(EnrolmentCells(1, None, 0, None), {})
    assert changes(before, TableState(EnrolmentCells(1, None, 0, empty), {})) == ()
