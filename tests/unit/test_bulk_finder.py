from collections.abc import Collection, Mapping
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk.certificates import may_lack_certificate
from bulk.finder import Enrolled, differences, is_selected, judged, look_of, reasons_of
from bulk.model import Found, Reason, Selection, Unjudged
from reconciliation.comparison import Cell, Change, EnrolmentCells
from reconciliation.course import Course
from reconciliation.errors import RelationsMissing, SearchUnavailable
from reconciliation.model import CollectionStatus, CourseRelations, EnrolmentKey
from reconciliation.progress import Rules
from tests.bulk.naive import reasons, stuck_case
from tests.oracle import Case

KEY = EnrolmentKey("user", "course", "batch")
NOW_US = 1_900_000_000_000_000
COURSE = Course(CourseRelations({"course": frozenset({"a", "b"})}, {}, {"a": frozenset({"course"})}))


def course_of(case: Case) -> Course:
    kinds: dict[str, dict[str, frozenset[str]]] = {"leafnodes": {}, "optionalnodes": {}, "ancestors": {}}
    for key, members in case["relations"].items():
        _, node, kind = key.split(":")
        kinds[kind][node] = frozenset(members)
    retired = case["course_status"] == "Retired"
    status = CollectionStatus.RETIRED if retired else CollectionStatus.NOT_RETIRED
    return Course(CourseRelations(kinds["leafnodes"], kinds["optionalnodes"], kinds["ancestors"]), status)


def rules_of(case: Case) -> Rules:
    switches = case["switches"]
    return Rules(switches["module_aggregates"], switches["filter_processed"], switches["optional_nodes"])


def cells_of(case: Case) -> EnrolmentCells:
    row = case["enrolment"]
    return EnrolmentCells(row["status"], row["completedon"], row["progress"], row["contentstatus"])


def changes_of(case: Case, *, aggregates: bool = True) -> tuple[Change, ...]:
    def counts(_: EnrolmentKey, activities: Collection[str]) -> Mapping[str, float]:
        return {activity: case["counts"][activity] for activity in activities if activity in case["counts"]}

    key = EnrolmentKey(case["user"], case["course"], case["batch"])
    contents = [(row["contentid"], row["status"]) for row in case["consumption"]]
    cells = cells_of(case)
    return differences(
        key,
        look_of(cells, contents),
        cells,
        course_of(case),
        rules_of(case),
        counts_of=counts if aggregates else None,
        now_us=NOW_US,
    )


@given(st.integers(0, 2**32))
def test_what_is_found_is_what_the_oracle_would_change(seed: int) -> None:
    case = stuck_case(Random(seed), seed)
    expected = reasons(case)
    if expected is None:
        with pytest.raises(RelationsMissing):
            changes_of(case)
        return
    assert {reason.value for reason in reasons_of(changes_of(case))} == expected
    without = {reason.value for reason in reasons_of(changes_of(case, aggregates=False))}
    assert without == expected - {Reason.AGGREGATES.value}


def test_the_made_cases_have_every_reason_and_none() -> None:
    drawn = [reasons(stuck_case(Random(seed), seed)) for seed in range(500)]
    assert {reason for found in drawn for reason in found or ()} == {
        Reason.NOT_COMPLETED.value,
        Reason.NO_COMPLETED_ON.value,
        Reason.PROGRESS.value,
        Reason.AGGREGATES.value,
    }
    assert sum(found is None for found in drawn) > 10
    assert sum(found == set() for found in drawn) > 100


def test_a_completion_without_its_time_is_a_change() -> None:
    cells = EnrolmentCells(2, None, 2, {"a": 2, "b": 2})
    look = look_of(cells, [("a", 2), ("b", 2)])
    changed = differences(KEY, look, cells, COURSE, Rules(), counts_of=None, now_us=NOW_US)
    assert changed == (Change(Cell.COMPLETED_ON, None, NOW_US // 1000),)
    assert reasons_of(changed) == (Reason.NO_COMPLETED_ON,)


@pytest.mark.parametrize("contents", [[], [("a", 2)], [("a", 2), ("b", None)]])
def test_a_completion_without_its_time_and_without_what_is_required_is_left(
    contents: list[tuple[str, int | None]],
) -> None:
    cells = EnrolmentCells(2, None, 0, None)
    assert differences(KEY, look_of(cells, contents), cells, COURSE, Rules(), counts_of=None, now_us=NOW_US) == ()


def enrolled(status: int | None = 1, active: bool | None = True, completed_on_ms: int | None = None) -> Enrolled:
    return Enrolled(KEY, EnrolmentCells(status, completed_on_ms, None, None), active)


@pytest.mark.parametrize(
    ("selection", "row", "expected"),
    [
        (Selection(), enrolled(), True),
        (Selection(user_id="user", course_id="course", batch_id="batch"), enrolled(), True),
        (Selection(user_id="another"), enrolled(), False),
        (Selection(course_id="another"), enrolled(), False),
        (Selection(batch_id="another"), enrolled(), False),
        (Selection(active_only=True), enrolled(active=None), False),
        (Selection(active_only=True), enrolled(active=False), False),
        (Selection(active_only=True), enrolled(), True),
        (Selection(not_completed=True), enrolled(2), False),
        (Selection(not_completed=True), enrolled(None), True),
    ],
)
def test_a_selection_narrows(selection: Selection, row: Enrolled, expected: bool) -> None:
    assert is_selected(row, selection) is expected


def test_without_a_question_all_of_a_selection_is_found() -> None:
    assert judged(enrolled(), Selection(), None) == Found(KEY, (Reason.SELECTED,))


def test_what_is_sound_is_not_found() -> None:
    assert judged(enrolled(), Selection(stuck=True), ()) is None
    assert judged(enrolled(), Selection(missing_certificates=True), None) is None


def test_an_enrolment_may_be_found_for_several_reasons() -> None:
    changed = (Change(Cell.COMPLETED_COUNT, None, 1.0, "course"),)
    found = judged(enrolled(2), Selection(stuck=True, missing_certificates=True), changed, lacks_certificate=True)
    assert found == Found(KEY, (Reason.AGGREGATES, Reason.NO_CERTIFICATE), changed)


def test_what_could_not_be_asked_is_told_with_its_code() -> None:
    told = judged(enrolled(), Selection(stuck=True), SearchUnavailable("no answer"))
    assert told == Unjudged(KEY, "SEARCH_UNAVAILABLE: no answer")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (enrolled(2, completed_on_ms=1_000), True),
        (enrolled(2, completed_on_ms=1_001), False),
        (enrolled(2), False),
        (enrolled(1, completed_on_ms=1_000), False),
        (enrolled(2, active=None, completed_on_ms=1_000), False),
        (enrolled(2, active=False, completed_on_ms=1_000), False),
    ],
)
def test_a_certificate_is_missed_of_active_completions_that_are_old_enough(row: Enrolled, expected: bool) -> None:
    assert may_lack_certificate(row, now_ms=6_000, older_than_ms=5_000) is expected


def test_who_has_a_certificate_lacks_none() -> None:
    row = Enrolled(KEY, EnrolmentCells(2, 1_000, None, None), active=True, has_certificate=True)
    assert not may_lack_certificate(row, now_ms=6_000, older_than_ms=0)
