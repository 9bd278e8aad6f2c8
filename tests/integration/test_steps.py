"""Each rule of a reconciliation (docs/reconciliation.md, steps) by the rows and events that it leaves."""

import pytest

from tests.support.checks import check_announced_once, check_silent, progress_of
from tests.support.installation import Installation, new_learner, unique
from tests.support.relations import CourseTree, course_of_units
from tests.support.tables import Learner

LONG_AGO_MS = 1_600_000_000_000


def test_without_consumption_nothing_is_written(installation: Installation) -> None:
    learner = new_learner()
    installation.relations.fill(course_of_units(learner.course, {"unit": {"a"}}))
    installation.tables.add_enrolments([learner], progress=4)
    row, times = installation.tables.enrolment(learner), installation.tables.write_times(learner)

    installation.sync(learner)

    assert installation.tables.enrolment(learner) == row
    assert installation.tables.write_times(learner) == times
    assert installation.tables.aggregates(learner) == {}
    check_silent(installation, learner)


def test_without_an_enrolment_the_aggregates_alone_are_written(installation: Installation) -> None:
    learner = new_learner()
    installation.relations.fill(course_of_units(learner.course, {"unit": {"a"}}))
    installation.tables.add_consumption({learner: {"a": 2}})

    installation.sync(learner)

    assert installation.tables.completed_counts(learner) == {learner.course: 1.0, "unit": 1.0}
    assert installation.tables.enrolment(learner) is None
    check_silent(installation, learner)


@pytest.mark.parametrize("consumption", [{"a": 2, "b": 2}, {"a": 2, "b": 1}], ids=["still complete", "regressed"])
def test_a_completed_enrolment_is_left_as_it_is(installation: Installation, consumption: dict[str, int]) -> None:
    learner = new_learner()
    installation.relations.fill(course_of_units(learner.course, {"unit": {"a", "b"}}))
    installation.tables.add_consumption({learner: consumption})
    installation.tables.add_enrolments(
        [learner], status=2, progress=2, completedon=LONG_AGO_MS, contentstatus={"a": 2}, datetime=LONG_AGO_MS
    )
    row, times = installation.tables.enrolment(learner), installation.tables.write_times(learner)

    installation.sync(learner)

    assert installation.tables.enrolment(learner) == row
    assert installation.tables.write_times(learner) == times
    count = float(list(consumption.values()).count(2))
    assert installation.tables.completed_counts(learner) == {learner.course: count, "unit": count}
    check_silent(installation, learner)


def test_progress_may_go_down_and_status_1_is_not_written_again(installation: Installation) -> None:
    learner = new_learner()
    installation.relations.fill(course_of_units(learner.course, {"unit": {"a", "b", "c"}}))
    installation.tables.add_consumption({learner: {"a": 1, "b": 2}})
    installation.tables.add_enrolments([learner], progress=3, contentstatus={"a": 2, "b": 2, "gone": 2})
    before = installation.tables.write_times(learner)

    installation.sync(learner)

    assert progress_of(installation, learner) == (1, 1, {"a": 1, "b": 2})
    after = installation.tables.write_times(learner)
    assert after["status"] == before["status"]
    assert after["progress"] > before["progress"]
    assert after["active"] == before["active"]
    check_silent(installation, learner)


@pytest.mark.parametrize("status", [0, None])
def test_an_enrolment_that_has_not_begun_gets_status_1(installation: Installation, status: int | None) -> None:
    learner = new_learner()
    installation.relations.fill(course_of_units(learner.course, {"unit": {"a", "b"}}))
    installation.tables.add_consumption({learner: {"a": 2}})
    installation.tables.add_enrolments([learner], status=status)

    installation.sync(learner)

    assert progress_of(installation, learner) == (1, 1, {"a": 2})


def test_a_status_that_is_null_or_0_counts_as_not_completed(installation: Installation) -> None:
    learner = new_learner()
    installation.relations.fill(course_of_units(learner.course, {"unit": {"a", "b", "c"}}))
    installation.tables.add_consumption({learner: {"a": None, "b": 2, "c": 0}})
    installation.tables.add_enrolments([learner])

    installation.sync(learner)

    assert progress_of(installation, learner) == (1, 1, {"a": 1, "b": 2, "c": 0})
    assert installation.tables.completed_counts(learner) == {learner.course: 1.0, "unit": 1.0}


def test_contents_that_the_course_does_not_list_do_not_count(installation: Installation) -> None:
    learner = new_learner()
    installation.relations.fill(course_of_units(learner.course, {"unit": {"a", "b"}}))
    installation.tables.add_consumption({learner: {"a": 2, "foreign": 2}})
    installation.tables.add_enrolments([learner])

    installation.sync(learner)

    assert progress_of(installation, learner) == (1, 1, {"a": 2, "foreign": 2})
    assert installation.tables.completed_counts(learner) == {learner.course: 1.0, "unit": 1.0}


def test_only_this_batch_counts(installation: Installation) -> None:
    learner = new_learner()
    other = Learner(learner.user, learner.course, unique("batch"))
    installation.relations.fill(course_of_units(learner.course, {"unit": {"a", "b"}}))
    installation.tables.add_consumption({learner: {"a": 2}, other: {"a": 2, "b": 2}})
    installation.tables.add_enrolments([learner, other])
    untouched = installation.tables.enrolment(other)

    installation.sync(learner)

    assert progress_of(installation, learner) == (1, 1, {"a": 2})
    assert installation.tables.enrolment(other) == untouched
    assert installation.tables.aggregates(other) == {}
    check_silent(installation, other)


def test_units_at_every_depth_and_place_are_counted(installation: Installation) -> None:
    learner = new_learner()
    course = learner.course
    installation.relations.fill(
        CourseTree(
            course,
            leaf_nodes={
                course: {"a", "b", "c", "d"},
                "upper": {"a", "b", "c"},
                "lower": {"b", "c"},
                "lowest": {"c"},
                "aside": {"c", "d"},
                "unopened": {"d"},
            },
            ancestors={
                "a": {course, "upper"},
                "b": {course, "upper", "lower"},
                "c": {course, "upper", "lower", "lowest", "aside"},
                "d": {course, "aside", "unopened"},
            },
        )
    )
    installation.tables.add_consumption({learner: {"a": 2, "b": 1, "c": 2}})
    installation.tables.add_enrolments([learner])

    installation.sync(learner)

    assert installation.tables.completed_counts(learner) == {
        course: 2.0,
        "upper": 2.0,
        "lower": 1.0,
        "lowest": 1.0,
        "aside": 1.0,
    }
    assert progress_of(installation, learner) == (1, 2, {"a": 2, "b": 1, "c": 2})


def test_a_unit_without_leaf_nodes_gets_0(installation: Installation) -> None:
    learner = new_learner()
    installation.relations.fill(
        CourseTree(learner.course, leaf_nodes={learner.course: {"a"}}, ancestors={"a": {learner.course, "empty"}})
    )
    installation.tables.add_consumption({learner: {"a": 2}})
    installation.tables.add_enrolments([learner])

    installation.sync(learner)

    assert installation.tables.completed_counts(learner) == {learner.course: 1.0, "empty": 0.0}
    assert progress_of(installation, learner) == (2, 1, {"a": 2})
    check_announced_once(installation, learner)


def test_optional_contents_are_neither_required_nor_counted(installation: Installation) -> None:
    learner = new_learner()
    tree = course_of_units(learner.course, {"unit": {"a", "b", "extra"}})
    optional = {learner.course: {"extra"}, "unit": {"extra", "b"}}
    installation.relations.fill(CourseTree(learner.course, tree.leaf_nodes, optional, tree.ancestors))
    installation.tables.add_consumption({learner: {"a": 2, "b": 2, "extra": 2}})
    installation.tables.add_enrolments([learner])

    installation.sync(learner)

    assert progress_of(installation, learner) == (2, 2, {"a": 2, "b": 2, "extra": 2})
    assert installation.tables.completed_counts(learner) == {learner.course: 2.0, "unit": 1.0}
    check_announced_once(installation, learner)


def test_optional_contents_need_not_be_opened(installation: Installation) -> None:
    learner = new_learner()
    tree = course_of_units(learner.course, {"unit": {"a", "extra"}})
    installation.relations.fill(
        CourseTree(learner.course, tree.leaf_nodes, {learner.course: {"extra"}}, tree.ancestors)
    )
    installation.tables.add_consumption({learner: {"a": 2}})
    installation.tables.add_enrolments([learner])

    installation.sync(learner)

    assert progress_of(installation, learner) == (2, 1, {"a": 2})
    check_announced_once(installation, learner)


def test_a_course_that_requires_nothing_is_completed(installation: Installation) -> None:
    learner = new_learner()
    tree = course_of_units(learner.course, {"unit": {"a"}})
    installation.relations.fill(CourseTree(learner.course, tree.leaf_nodes, {learner.course: {"a"}}, tree.ancestors))
    installation.tables.add_consumption({learner: {"a": 1}})
    installation.tables.add_enrolments([learner])

    installation.sync(learner)

    assert progress_of(installation, learner) == (2, 0, {"a": 1})
    assert installation.tables.completed_counts(learner) == {learner.course: 0.0, "unit": 0.0}
    check_announced_once(installation, learner)


def test_optional_contents_that_are_no_leaf_nodes_take_nothing_off(installation: Installation) -> None:
    learner = new_learner()
    tree = course_of_units(learner.course, {"unit": {"a", "b"}})
    installation.relations.fill(
        CourseTree(learner.course, tree.leaf_nodes, {learner.course: {"moved away"}}, tree.ancestors)
    )
    installation.tables.add_consumption({learner: {"a": 2, "moved away": 2}})
    installation.tables.add_enrolments([learner])

    installation.sync(learner)

    assert progress_of(installation, learner) == (1, 1, {"a": 2, "moved away": 2})


def test_a_leaf_node_that_nobody_can_open_keeps_the_course_open(installation: Installation) -> None:
    learner = new_learner()
    tree = course_of_units(learner.course, {"unit": {"a"}})
    leaf_nodes = {**tree.leaf_nodes, learner.course: {"a", "stale"}}
    installation.relations.fill(CourseTree(learner.course, leaf_nodes, {}, tree.ancestors))
    installation.tables.add_consumption({learner: {"a": 2}})
    installation.tables.add_enrolments([learner])

    installation.sync(learner)

    assert progress_of(installation, learner) == (1, 1, {"a": 2})
    assert installation.tables.completed_counts(learner) == {learner.course: 1.0, "unit": 1.0}
    check_silent(installation, learner)


def test_what_other_jobs_keep_in_the_aggregates_stays(installation: Installation) -> None:
    learner = new_learner()
    installation.relations.fill(course_of_units(learner.course, {"unit": {"a"}}))
    scores = {"score:a": 4.5, "max_score:a": 10.0, "attempts_count:a": 2.0}
    for activity in (learner.course, "unit"):
        installation.tables.add_aggregates(learner, activity, {**scores, "completedCount": 9.0})
    before = installation.tables.aggregates(learner)
    installation.tables.add_consumption({learner: {"a": 2}})

    installation.sync(learner)

    after = installation.tables.aggregates(learner)
    for activity in (learner.course, "unit"):
        times = after[activity]["agg_last_updated"]
        assert after[activity] == {
            **before[activity],
            "aggregates": {**scores, "completedCount": 1.0},
            "agg_last_updated": {**before[activity]["agg_last_updated"], "completedCount": times["completedCount"]},
        }
