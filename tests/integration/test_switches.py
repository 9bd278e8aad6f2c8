"""The settings that change what is written (docs/settings.md)."""

from collections.abc import Iterator

import pytest

from tests.integration.conftest import MakeInstallation
from tests.support.events import check_audit, check_certificate
from tests.support.installation import Installation, new_learner
from tests.support.relations import CourseTree, course_of_units
from tests.support.tables import OTHERS_CELLS, Learner

LONG_AGO_MS = 1_600_000_000_000
OTHER_DATABASE = 11


@pytest.fixture(scope="module")
def reduced(make_installation: MakeInstallation) -> Iterator[Installation]:
    """No unit rows, no optional nodes, one row a batch message, and the relation sets elsewhere."""
    settings = {
        "ACTIVITY_MODULE_AGGS_ENABLED": "false",
        "ACTIVITY_OPTIONAL_NODES_ENABLED": "false",
        "THRESHOLD_BATCH_WRITE_SIZE": "1",
        "REDIS_DATABASE_RELATIONCACHE_ID": str(OTHER_DATABASE),
    }
    with make_installation(settings, relation_database=OTHER_DATABASE) as made:
        yield made.start()


@pytest.fixture(scope="module")
def unfiltered(make_installation: MakeInstallation) -> Iterator[Installation]:
    """Enrolments are written whatever they say."""
    with make_installation({"ACTIVITY_FILTER_PROCESSED_ENROLMENTS": "false"}) as made:
        yield made.start()


def test_without_module_aggregates_the_course_row_alone_is_written(reduced: Installation) -> None:
    learner = new_learner()
    reduced.relations.fill(course_of_units(learner.course, {"unit1": {"a"}, "unit2": {"b"}}))
    reduced.tables.add_consumption({learner: {"a": 2, "b": 2}})
    reduced.tables.add_enrolments([learner])

    reduced.sync(learner)

    assert reduced.tables.completed_counts(learner) == {learner.course: 2.0}
    row = reduced.tables.enrolment(learner)
    assert row is not None
    assert (row["status"], row["progress"]) == (2, 2)
    _check_announced_once(reduced, learner, row["completedon"])


def test_without_optional_nodes_every_leaf_is_required(reduced: Installation) -> None:
    learner = new_learner()
    tree = course_of_units(learner.course, {"unit": {"a", "extra"}})
    reduced.relations.fill(CourseTree(learner.course, tree.leaf_nodes, {learner.course: {"extra"}}, tree.ancestors))
    reduced.tables.add_consumption({learner: {"a": 2}})
    reduced.tables.add_enrolments([learner])

    reduced.sync(learner)

    row = reduced.tables.enrolment(learner)
    assert row is not None
    assert (row["status"], row["progress"]) == (1, 1)

    reduced.tables.add_consumption({learner: {"extra": 2}})
    reduced.sync(learner)

    row = reduced.tables.enrolment(learner)
    assert row is not None
    assert (row["status"], row["progress"]) == (2, 2)
    _check_announced_once(reduced, learner, row["completedon"])


def test_small_batches_write_every_unit(make_installation: MakeInstallation) -> None:
    learner = new_learner()
    units = {f"unit{number}": {f"content{number}"} for number in range(7)}
    with make_installation({"THRESHOLD_BATCH_WRITE_SIZE": "3"}) as installation:
        installation.relations.fill(course_of_units(learner.course, units))
        installation.tables.add_consumption({learner: {f"content{number}": 2 for number in range(7)}})
        installation.start().sync(learner)
        assert installation.tables.completed_counts(learner) == {learner.course: 7.0, **dict.fromkeys(units, 1.0)}


@pytest.mark.parametrize("complete", [False, True], ids=["in progress", "complete"])
def test_without_the_filter_a_missing_enrolment_is_made(unfiltered: Installation, complete: bool) -> None:
    learner = new_learner()
    consumption = {"a": 2, "b": 2 if complete else 1}
    unfiltered.relations.fill(course_of_units(learner.course, {"unit": {"a", "b"}}))
    unfiltered.tables.add_consumption({learner: consumption})

    unfiltered.sync(learner)

    row = unfiltered.tables.enrolment(learner)
    assert row is not None
    assert (row["status"], row["progress"], row["contentstatus"]) == (1 + complete, 1 + complete, consumption)
    assert {name: row[name] for name in OTHERS_CELLS} == dict.fromkeys(OTHERS_CELLS)
    if complete:
        _check_announced_once(unfiltered, learner, row["completedon"])
    else:
        assert row["completedon"] is None
        assert unfiltered.announced(learner).certificates == []


def test_without_the_filter_a_status_may_go_back_to_1(unfiltered: Installation) -> None:
    learner = new_learner()
    unfiltered.relations.fill(course_of_units(learner.course, {"unit": {"a", "b"}}))
    unfiltered.tables.add_consumption({learner: {"a": 2}})
    unfiltered.tables.add_enrolments([learner], status=2, completedon=LONG_AGO_MS, progress=2)

    unfiltered.sync(learner)

    row = unfiltered.tables.enrolment(learner)
    assert row is not None
    assert (row["status"], row["progress"], row["contentstatus"]) == (1, 1, {"a": 2})
    assert row["completedon"] == LONG_AGO_MS
    assert unfiltered.announced(learner).certificates == []
    assert unfiltered.announced(learner).audits == []


def test_without_the_filter_a_completion_keeps_its_time(unfiltered: Installation) -> None:
    learner = new_learner()
    unfiltered.relations.fill(course_of_units(learner.course, {"unit": {"a"}}))
    unfiltered.tables.add_consumption({learner: {"a": 2, "aside": 1}})
    unfiltered.tables.add_enrolments([learner], status=2, completedon=LONG_AGO_MS, progress=7)

    unfiltered.sync(learner)
    unfiltered.sync(learner)

    row = unfiltered.tables.enrolment(learner)
    assert row is not None
    assert (row["status"], row["progress"], row["contentstatus"]) == (2, 1, {"a": 2, "aside": 1})
    assert row["completedon"] == LONG_AGO_MS
    _check_announced_once(unfiltered, learner, LONG_AGO_MS)


def _check_announced_once(installation: Installation, learner: Learner, completed_on_ms: int) -> None:
    announced = installation.announced(learner)
    (certificate,), (audit,) = announced.certificates, announced.audits
    check_certificate(certificate, learner, completed_on_ms)
    check_audit(audit, learner)
