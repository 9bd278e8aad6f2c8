"""Which failed events are sent back."""

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.failures import Failure, Selection, read_failure
from commands.replay_plan import MOST_LISTED, Picked, Plan, Planner
from reconciliation.failed_event import failed_event
from reconciliation.model import FinalFailure, Origin, Record
from reconciliation.requests import REPEATED_HEADER

VALUE = b'{"edata":{"userId":"u","courseId":"c","batchId":"b"}}'


def failure(
    place: tuple[int, int],
    *,
    value: bytes = VALUE,
    reason: str = "RELATIONS_MISSING",
    failed_ms: int = 5_000,
    origin: int = 1,
    first: int | None = None,
    max_bytes: int = 1_000_000,
) -> Failure:
    headers = () if first is None else ((REPEATED_HEADER, f'["input",0,{first},1]'.encode()),)
    record = Record(Origin("input", 0, origin, 1_000), b"key", value, headers)
    event = failed_event(record, FinalFailure(reason, "why", 6, failed_ms), "failed", max_bytes)
    return read_failure(Record(Origin("failed", *place, 9_000), event.key, event.value, event.headers))


def planned(failures: Iterable[Failure], wanted: Selection | None = None, limit: int | None = None) -> Plan:
    planner = Planner(wanted or Selection(), "input", limit)
    for it in failures:
        planner.look(it)
    return planner.plan()


def picked(plan: Plan, places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    found = Picked(plan)
    return [place for place in places if found.holds(Origin("failed", *place, 0))]


def test_each_original_is_sent_once() -> None:
    plan = planned(
        [
            failure((0, 0), origin=1),
            failure((0, 1), origin=2),
            failure((0, 2), origin=1),
            failure((1, 0), origin=50, first=1),
            failure((1, 1), origin=60, first=3),
            failure((1, 2), origin=70, first=3, reason="OTHER"),
        ]
    )
    assert (len(plan), plan.repeats, plan.reasons) == (3, 3, {"RELATIONS_MISSING": 3})
    places = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert picked(plan, places) == [(0, 0), (0, 1), (1, 1)]


def test_invalid_ones_are_left_out_unless_they_are_named() -> None:
    failures = [failure((0, 0), value=b"hello", reason="INVALID_REQUEST"), failure((0, 1), origin=2)]
    plan = planned(failures)
    assert (len(plan), plan.left_out) == (1, 1)
    plan = planned(failures, Selection(reasons=frozenset({"INVALID_REQUEST", "RELATIONS_MISSING"})))
    assert (len(plan), plan.left_out) == (2, 0)


def test_what_can_not_be_had_back_is_listed() -> None:
    cut = [failure((0, n), value=b"x" * 300_000, origin=n, max_bytes=100_000) for n in range(3)]
    plan = planned([*cut, read_failure(Record(Origin("failed", 0, 3, 1), None, b"foreign")), failure((0, 4), origin=9)])
    assert (len(plan), plan.refused_count) == (1, 4)
    assert [it.failure.record.origin.offset for it in plan.refused] == [0, 1, 2, 3]
    assert "only the start" in plan.refused[0].why
    # nothing large is kept
    assert all(it.failure.record.value is None for it in plan.refused)


def test_the_list_has_a_bound() -> None:
    foreign = (read_failure(Record(Origin("failed", 0, n, 1), None, b"foreign")) for n in range(MOST_LISTED + 5))
    plan = planned(foreign)
    assert (plan.refused_count, len(plan.refused)) == (MOST_LISTED + 5, MOST_LISTED)


def test_a_limit_takes_those_that_failed_first() -> None:
    failures = [failure((n % 2, n), origin=n, failed_ms=1_000 - n) for n in range(10)]
    plan = planned(failures, limit=3)
    assert (len(plan), plan.beyond, plan.reasons) == (3, 7, {"RELATIONS_MISSING": 3})
    assert picked(plan, [(n % 2, n) for n in range(10)]) == [(1, 7), (0, 8), (1, 9)]


def test_what_went_from_the_topic_meanwhile_is_passed_over() -> None:
    plan = planned(failure((0, n), origin=n) for n in range(6))
    assert picked(plan, [(0, 3), (0, 5), (1, 0), (0, 6)]) == [(0, 3), (0, 5)]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 8), st.integers(1, 6)), max_size=20),
    st.none() | st.integers(1, 5),
)
def test_nothing_is_ever_sent_twice_and_nothing_forgotten(rows: list[tuple[int, int, int]], limit: int | None) -> None:
    places = [(partition, n) for n, (partition, _, _) in enumerate(rows)]
    failures = [
        failure(place, origin=origin, failed_ms=failed) for place, (_, origin, failed) in zip(places, rows, strict=True)
    ]
    plan = planned(failures, limit=limit)
    sent = picked(plan, places)
    origins = [rows[n][1] for _, n in sent]
    distinct = len({origin for _, origin, _ in rows})
    assert len(sent) == len(plan) == min(distinct, limit or distinct)
    assert len(set(origins)) == len(origins)
    assert len(plan) + plan.repeats + plan.beyond == len(rows)
    if limit is not None and sent:
        first_of = {origin: failed for _, origin, failed in reversed(rows)}
        assert max(first_of[origin] for origin in origins) <= sorted(first_of.values())[len(sent) - 1]


@pytest.mark.parametrize("limit", [None, 2])
def test_nothing_gives_an_empty_plan(limit: int | None) -> None:
    assert len(planned([], limit=limit)) == 0
