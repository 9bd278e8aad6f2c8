"""`enrolment-reconciliation relations` against real hierarchies and relation sets."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from devstack.ports import HOST, Ports
from devstack.topics import create_topics
from tests.integration.conftest import MakeInstallation
from tests.support.installation import Ended, Installation, unique
from tests.support.kafka import TopicReader
from tests.support.redis_proxy import RedisProxy
from tests.support.relations import CourseTree, HierarchyStore, course_of_units

COLLECTION = "application/vnd.ekstep.content-collection"


@pytest.fixture(scope="module")
def idle(make_installation: MakeInstallation, hierarchy_store: str) -> Iterator[Installation]:
    """An installation none of whose processes runs."""
    settings = {
        "LMS_CASSANDRA_HIERARCHY_RELATIONS_KEYSPACE": hierarchy_store,
        "LMS_CASSANDRA_CONTENT_HIERARCHY_KEYSPACE": hierarchy_store,
    }
    with make_installation(settings) as made:
        yield made


@pytest.fixture
def store(ports: Ports, hierarchy_store: str) -> HierarchyStore:
    return HierarchyStore(HOST, ports.cassandra, hierarchy_store)


@pytest.fixture
def healing_topic(idle: Installation, ports: Ports) -> Iterator[TopicReader]:
    topic = f"{idle.environment}.content.postpublish.request"
    create_topics(ports.bootstrap, [topic])
    reader = TopicReader(ports.bootstrap, topic)
    yield reader
    reader.close()


def published(store: HierarchyStore, *, optional: bool = False) -> CourseTree:
    """Publish a course of two units, one content in both of them; gives the sets that belong to it."""
    course = unique("do")
    flag = {"relationalMetadata": {"optional": True}} if optional else {}
    units = {"unit1": ["a"], "unit2": ["a", "b"]}
    root = {
        "identifier": course,
        "mimeType": COLLECTION,
        "children": [
            {
                "identifier": unit,
                "mimeType": COLLECTION,
                "visibility": "Parent",
                "children": [
                    {"identifier": it, "mimeType": "video/mp4", "status": "Live", **(flag if it == "b" else {})}
                    for it in contents
                ],
            }
            for unit, contents in units.items()
        ],
    }
    store.publish(course, json.dumps(root))
    tree = course_of_units(course, units)
    return CourseTree(course, tree.leaf_nodes, {course: {"b"}, "unit2": {"b"}} if optional else {}, tree.ancestors)


def run(installation: Installation, *courses: str, more: tuple[str, ...] = (), **settings: str) -> Ended:
    named = [part for course in courses for part in ("--course", course)]
    return installation.run_command("relations", *named, *more, settings=settings)


def told(ended: Ended, course: str) -> Mapping[str, Any]:
    document = json.loads(ended.stdout)
    assert document["in_order"] is (ended.returncode == 0)
    (found,) = [it for it in document["courses"] if it["course"] == course]
    return dict(found)


def test_a_course_as_it_should_be(idle: Installation, store: HierarchyStore) -> None:
    tree = published(store, optional=True)
    idle.relations.fill(tree)
    ended = run(idle, tree.course, tree.course)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "1 course was compared with the sets in redis: 1 as it should be\n"
    found = told(run(idle, tree.course, more=("--json",)), tree.course)
    assert (found["state"], found["units"], found["contents"]) == ("as it should be", 2, 2)
    assert found["differences"] == []


def test_every_kind_of_drift_is_named_with_what_helps(idle: Installation, store: HierarchyStore) -> None:
    tree = published(store)
    course = tree.course
    idle.relations.fill(tree)
    idle.relations.fill_sets(
        {
            f"{course}:{course}:leafnodes": {"a", "gone"},
            f"{course}:{course}:optionalnodes": {"b"},
            f"{course}:gone:ancestors": {course, "old"},
            f"{course}:old:leafnodes": {"gone"},
            f"{course}:b:ancestors": {course, "old"},
        }
    )
    idle.relations.remove(course, "unit1", "leafnodes")

    ended = run(idle, course, more=("--json",))
    assert ended.returncode == 1
    found = told(ended, course)
    assert found["state"] == "drifts"
    differences = {(it["kind"], it["key"].removeprefix(f"{course}:")): it for it in found["differences"]}
    assert {key: (it["ids"], it["made_anew"]) for key, it in differences.items()} == {
        ("leaf nodes missing", f"{course}:leafnodes"): (["b"], True),
        ("leaf nodes extra", f"{course}:leafnodes"): (["gone"], True),
        ("stale unit", "old:leafnodes"): (["gone"], False),
        ("missing set", "unit1:leafnodes"): (["a"], True),
        ("optional nodes stale", f"{course}:optionalnodes"): (["b"], False),
        ("ancestors missing", "b:ancestors"): (["unit2"], True),
        ("ancestors extra", "b:ancestors"): (["old"], True),
        ("ancestors extra", "gone:ancestors"): ([course, "old"], False),
    }

    table = run(idle, course)
    assert table.returncode == 1
    assert table.stdout.count("publish the course again, or ask with --heal") == 5
    assert table.stdout.count("delete this key in Redis database 10") == 3
    assert "1 course was compared with the sets in redis: 1 drifts" in table.stdout
    # it wrote nothing
    assert told(run(idle, course, more=("--json",)), course) == found


def test_optional_nodes_that_the_sets_lack(idle: Installation, store: HierarchyStore) -> None:
    tree = published(store, optional=True)
    idle.relations.fill(CourseTree(tree.course, tree.leaf_nodes, {tree.course: {"a"}}, tree.ancestors))
    found = told(run(idle, tree.course, more=("--json",)), tree.course)
    assert [(it["kind"], it["node"], it["ids"]) for it in found["differences"]] == [
        ("optional nodes missing", tree.course, ["b"]),
        ("optional nodes stale", tree.course, ["a"]),
        ("missing set", "unit2", ["b"]),
    ]


def test_courses_that_can_t_be_compared(idle: Installation, store: HierarchyStore) -> None:
    broken, unknown, empty = unique("do"), unique("do"), unique("do")
    store.publish(broken, '{"identifier": ')
    store.publish(empty, None)
    fine = published(store)
    idle.relations.fill(fine)
    ended = run(idle, broken, unknown, empty, fine.course, more=("--json",))
    assert ended.returncode == 1
    states = {it["course"]: it["state"] for it in json.loads(ended.stdout)["courses"]}
    assert states == {
        broken: "unreadable hierarchy",
        unknown: "no hierarchy",
        empty: "no hierarchy",
        fine.course: "as it should be",
    }
    assert "it is no JSON" in told(ended, broken)["trouble"]
    assert "4 courses were compared" in run(idle, broken, unknown, empty, fine.course).stdout


def test_the_source_is_the_one_that_a_worker_takes(idle: Installation, store: HierarchyStore) -> None:
    both = "cassandra,redis"
    in_table, in_redis = published(store), published(store)
    store.fill(in_table)
    idle.relations.fill(in_redis)
    ended = run(idle, in_table.course, in_redis.course, more=("--json",), RELATIONS_SOURCES=both)
    assert ended.returncode == 0
    assert told(ended, in_table.course)["source"] == "cassandra"
    assert told(ended, in_redis.course)["source"] == "redis"
    # one of them by itself
    alone = run(idle, in_redis.course, more=("--json", "--source", "cassandra"), RELATIONS_SOURCES=both)
    assert alone.returncode == 1
    assert {it["kind"] for it in told(alone, in_redis.course)["differences"]} == {"missing set"}
    assert run(idle, in_redis.course, more=("--source", "cassandra")).returncode == 2
    # a row that is too much has another remedy than a key
    store.fill_sets({f"{in_table.course}:unit1:optionalnodes": {"a"}})
    stale = run(idle, in_table.course, RELATIONS_SOURCES="cassandra")
    assert "nobody removes it: delete this row" in stale.stdout


def test_an_outage_is_told_and_never_taken_for_drift(idle: Installation, store: HierarchyStore, ports: Ports) -> None:
    tree = published(store)
    store.fill(tree)
    with RedisProxy(ports.redis) as proxy:
        proxy.cut()
        away = {"REDIS_PORT": str(proxy.port), "LEDGER_REDIS_URL": ports.redis_url(0)}
        ended = run(idle, tree.course, **away)
        assert (ended.returncode, ended.stdout) == (3, "")
        assert "REDIS_HOST" in ended.stderr
        assert run(idle, tree.course, **away, RELATIONS_SOURCES="redis,cassandra").returncode == 0
    ended = run(idle, tree.course, LMS_CASSANDRA_PORT="1")
    assert ended.returncode == 3
    assert "LMS_CASSANDRA_HOST" in ended.stderr
    ended = run(idle, tree.course, LMS_CASSANDRA_CONTENT_HIERARCHY_KEYSPACE="nowhere")
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: lms-cassandra.content_hierarchy.keyspace is 'nowhere'")
    assert ended.stderr.count("\n") == 1


def test_healing_is_asked_for_what_drifts_alone(
    idle: Installation, store: HierarchyStore, healing_topic: TopicReader
) -> None:
    fine, drifting = published(store), published(store)
    idle.relations.fill(fine)
    assert run(idle, fine.course, drifting.course).returncode == 1
    assert healing_topic.records() == []
    ended = run(idle, fine.course, drifting.course, more=("--heal",))
    assert ended.returncode == 1
    assert f"1 course's sets asked for on {idle.environment}.content.postpublish.request" in ended.stdout
    (record,) = healing_topic.records()
    assert record.event["edata"] == {
        "action": "relation-cache-update",
        "identifier": drifting.course,
        "mimeType": COLLECTION,
    }
    as_json = run(idle, fine.course, drifting.course, more=("--heal", "--json"))
    assert told(as_json, drifting.course)["healing_asked"] is True
    assert told(as_json, fine.course)["healing_asked"] is False
    nowhere = run(idle, drifting.course, more=("--heal",), RELATIONS_HEALING_TOPIC="no.such.topic", KAFKA_TIMEOUT="2")
    assert nowhere.returncode == 3
    assert "RELATIONS_HEALING_TOPIC" in nowhere.stderr
