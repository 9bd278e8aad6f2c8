"""Bridge and worker with the other version of Cassandra, from the click to certificate and audit event."""

from collections.abc import Iterator

import pytest

from devstack.cassandra import session
from devstack.ports import HOST, Ports
from devstack.schema import AggregateLayout
from tests.integration.conftest import MakeInstallation
from tests.support.checks import check_announced_once, check_silent, progress_of
from tests.support.installation import Installation, new_learner
from tests.support.relations import CourseTree, HierarchyStore, course_of_units
from tests.support.tables import Learner


@pytest.fixture(scope="module", params=AggregateLayout, ids=lambda it: it.name.lower())
def installation(
    request: pytest.FixtureRequest, make_installation: MakeInstallation, hierarchy_store: str
) -> Iterator[Installation]:
    settings = {
        "RELATIONS_SOURCES": "redis,cassandra",
        "LMS_CASSANDRA_HIERARCHY_RELATIONS_KEYSPACE": hierarchy_store,
    }
    with make_installation(settings, layout=request.param) as made:
        yield made.start()


def learner_with(installation: Installation, statuses: dict[str, int]) -> tuple[Learner, CourseTree]:
    learner = new_learner()
    installation.tables.add_consumption({learner: statuses})
    installation.tables.add_enrolments([learner])
    return learner, course_of_units(learner.course, {"unit1": {"a"}, "unit2": {"a", "b"}})


def test_the_server_is_of_that_version(ports: Ports, other_version: str) -> None:
    with session(HOST, ports.cassandra) as connected:
        (row,) = connected.execute("SELECT release_version FROM system.local")
    assert row.release_version.startswith(f"{other_version}.")


def test_learners_are_completed_and_announced_or_get_on(
    installation: Installation, ports: Ports, hierarchy_store: str
) -> None:
    done, tree = learner_with(installation, {"a": 2, "b": 2})
    from_table, other_tree = learner_with(installation, {"a": 2, "b": 2})
    halfway, half_tree = learner_with(installation, {"a": 2, "b": 1})
    installation.relations.fill(tree, half_tree)
    HierarchyStore(HOST, ports.cassandra, hierarchy_store).fill(other_tree)
    installation.tables.add_aggregates(done, done.course, {"score:a": 7.0})

    installation.sync(done, from_table, halfway)

    for learner in (done, from_table):
        assert progress_of(installation, learner) == (2, 2, {"a": 2, "b": 2})
        assert installation.tables.completed_counts(learner) == {learner.course: 2.0, "unit1": 1.0, "unit2": 2.0}
        check_announced_once(installation, learner)
    assert progress_of(installation, halfway) == (1, 1, {"a": 2, "b": 1})
    check_silent(installation, halfway)
    # a second click finds all as it should be
    before = installation.tables.enrolment(done)
    installation.sync(done)
    assert installation.tables.enrolment(done) == before
    check_announced_once(installation, done)


def test_check_finds_all_in_order(installation: Installation) -> None:
    ended = installation.run_command("check", "--json")
    assert (ended.returncode, '"in_order": true' in ended.stdout) == (0, True), ended.stdout
