"""Relation sets from Cassandra's table, by itself and behind Redis, and courses whose sets are asked for."""

import json
from collections.abc import Iterator

import pytest

from devstack.ports import HOST, Ports
from devstack.topics import create_topics
from tests.integration.conftest import MakeInstallation
from tests.support.checks import check_announced_once
from tests.support.installation import Installation, new_learner
from tests.support.kafka import Received, TopicReader
from tests.support.redis_proxy import RedisProxy
from tests.support.relations import CourseTree, HierarchyStore, course_of_units
from tests.support.tables import Learner
from tests.support.waiting import wait_until

QUICK = {
    "RETRY_BACKOFF_FIRST": "0.3",
    "RETRY_BACKOFF_MOST": "1",
    "OUTAGE_BACKOFF_MOST": "1",
    "LEDGER_SWEEP_INTERVAL": "0.1",
    "REDIS_TIMEOUT": "1",
}


@pytest.fixture
def store(ports: Ports, hierarchy_store: str) -> HierarchyStore:
    return HierarchyStore(HOST, ports.cassandra, hierarchy_store)


@pytest.fixture(scope="module")
def cache(ports: Ports) -> Iterator[RedisProxy]:
    """The way to the relation cache, which may be cut off while the ledger goes on."""
    with RedisProxy(ports.redis) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def from_both(
    make_installation: MakeInstallation, hierarchy_store: str, ports: Ports, cache: RedisProxy
) -> Iterator[Installation]:
    """Reads Redis first, then the table."""
    with (
        make_installation(
            {
                **QUICK,
                "REDIS_PORT": str(cache.port),
                "LEDGER_REDIS_URL": ports.redis_url(0),
                "RELATIONS_SOURCES": "redis,cassandra",
                "LMS_CASSANDRA_HIERARCHY_RELATIONS_KEYSPACE": hierarchy_store,
            }
        ) as made,
    ):
        yield made.start()


def finished(installation: Installation) -> tuple[Learner, CourseTree]:
    """Make a learner who has completed a course of two units, whose sets are written nowhere."""
    learner = new_learner()
    installation.tables.add_consumption({learner: {"a": 2, "b": 2}})
    installation.tables.add_enrolments([learner])
    return learner, course_of_units(learner.course, {"unit1": {"a"}, "unit2": {"a", "b"}})


def check_completed(installation: Installation, learner: Learner) -> None:
    assert installation.tables.completed_counts(learner) == {learner.course: 2.0, "unit1": 1.0, "unit2": 2.0}
    check_announced_once(installation, learner)
    assert installation.failures(learner) == []


def test_a_course_in_the_table_alone_is_completed(from_both: Installation, store: HierarchyStore) -> None:
    learner, tree = finished(from_both)
    store.fill(tree)
    from_both.sync(learner)
    check_completed(from_both, learner)


def test_an_outage_of_redis_is_answered_by_the_table_and_never_taken_for_a_missing_set(
    from_both: Installation, store: HierarchyStore, cache: RedisProxy
) -> None:
    in_table, tree = finished(from_both)
    in_redis, other_tree = finished(from_both)
    store.fill(tree)
    from_both.relations.fill(other_tree)
    before = from_both.metrics("worker")["relation_fallback_count_total"]
    cache.cut()
    from_both.send(in_table, in_redis)
    from_both.wait_accepted()
    wait_until("the table answered", lambda: from_both.open_count() == 1)
    check_completed(from_both, in_table)
    assert from_both.metrics("worker")["relation_fallback_count_total"] > before
    wait_until("the other waits for Redis", lambda: any(waits >= 2 for _, waits in from_both.spent()))
    assert [attempts for attempts, _ in from_both.spent()] == [0]
    cache.is_cut = False
    from_both.wait_settled()
    check_completed(from_both, in_redis)


def test_the_table_alone_needs_no_relation_cache(
    make_installation: MakeInstallation, hierarchy_store: str, store: HierarchyStore, ports: Ports
) -> None:
    settings = {
        "RELATIONS_SOURCES": "cassandra",
        "LMS_CASSANDRA_HIERARCHY_RELATIONS_KEYSPACE": hierarchy_store,
        "LEDGER_REDIS_URL": ports.redis_url(0),
        "REDIS_PORT": "1",
    }
    with make_installation(settings) as installation:
        installation.start()
        learner, tree = finished(installation)
        store.fill(tree)
        installation.sync(learner)
        check_completed(installation, learner)


def healing_events(reader: TopicReader, course: str) -> list[Received]:
    return [record for record in reader.records() if record.event["edata"]["identifier"] == course]


def test_a_course_without_sets_is_asked_for_once_and_completed_when_they_come(
    make_installation: MakeInstallation, ports: Ports
) -> None:
    settings = {**QUICK, "RETRY_ATTEMPTS": "60", "RELATIONS_HEALING_ENABLED": "true"}
    with make_installation(settings) as installation:
        topic = f"{installation.environment}.content.postpublish.request"
        create_topics(ports.bootstrap, [topic])
        reader = TopicReader(ports.bootstrap, topic)
        installation.start()
        learner, tree = finished(installation)
        others = [Learner(f"{learner.user}-{number}", learner.course, learner.batch) for number in range(3)]
        installation.tables.add_consumption({it: {"a": 2, "b": 2} for it in others})
        installation.tables.add_enrolments(others)

        installation.send(learner, *others)
        wait_until("the sets were asked for", lambda: healing_events(reader, learner.course))
        wait_until("each was tried again", lambda: [tries >= 2 for tries, _ in installation.spent()] == [True] * 4)
        installation.relations.fill(tree)
        installation.wait_settled()

        for one in (learner, *others):
            check_completed(installation, one)
        (record,) = healing_events(reader, learner.course)
        event = record.event
        assert record.key == learner.course.encode()
        assert event["edata"] == {
            "action": "relation-cache-update",
            "identifier": learner.course,
            "mimeType": "application/vnd.ekstep.content-collection",
        }
        assert (event["eid"], event["actor"]["type"]) == ("BE_JOB_REQUEST", "System")
        assert event["object"] == {"id": learner.course, "type": "Collection"}
        assert not any(one.user in json.dumps(event) for one in (learner, *others))
        assert installation.metrics("worker")["relation_healing_count_total"] == 1
        reader.close()


def test_healing_that_can_t_be_asked_for_fails_no_request(make_installation: MakeInstallation) -> None:
    settings = {
        **QUICK,
        "RETRY_ATTEMPTS": "60",
        "KAFKA_TIMEOUT": "10",
        "RELATIONS_HEALING_ENABLED": "true",
        "RELATIONS_HEALING_TOPIC": "no.such.topic.at.all",
    }
    with make_installation(settings) as installation:
        installation.start()
        learner, tree = finished(installation)
        installation.send(learner)
        wait_until("it was told", lambda: "could not be asked for" in installation.worker.told())
        installation.relations.fill(tree)
        installation.wait_settled()
        check_completed(installation, learner)
        assert installation.metrics("worker")["relation_healing_count_total"] == 0


def test_nobody_is_asked_unless_healing_is_enabled(make_installation: MakeInstallation, ports: Ports) -> None:
    with make_installation({**QUICK, "RETRY_ATTEMPTS": "2"}) as installation:
        topic = f"{installation.environment}.content.postpublish.request"
        create_topics(ports.bootstrap, [topic])
        installation.start()
        learner, _ = finished(installation)
        installation.sync(learner)
        assert [it["failInfo"]["errorCode"] for it in installation.failures(learner)] == ["RELATIONS_MISSING"]
        reader = TopicReader(ports.bootstrap, topic)
        assert reader.records() == []
        reader.close()
