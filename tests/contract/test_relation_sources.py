"""Several sources of relation sets: a course is taken whole, and an outage is never taken for a set that is missing."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from devstack.ports import HOST, Ports
from reconciliation.counters import Counters
from reconciliation.enrolment_store import StoreConfig
from reconciliation.errors import RelationCacheUnavailable, Server, StoreUnavailable
from reconciliation.model import CourseRelations
from reconciliation.relation_cache import RelationCache
from reconciliation.relation_sources import RelationSources
from reconciliation.relation_table import RelationTable
from tests.contract.test_relation_table import table_in
from tests.support.redis_proxy import RedisProxy
from tests.support.relations import CourseTree, HierarchyStore, RelationSets, course_of_units

DATABASE = 10

Make = Callable[..., RelationSources]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def in_redis(ports: Ports) -> Iterator[RelationSets]:
    sets = RelationSets(HOST, ports.redis, DATABASE)
    yield sets
    sets.close()


@pytest.fixture
def in_table(ports: Ports, hierarchy_store: str) -> HierarchyStore:
    return HierarchyStore(HOST, ports.cassandra, hierarchy_store)


@pytest.fixture
def make(
    ports: Ports, store_config: StoreConfig, hierarchy_store: str, counters: Counters, clock: Clock
) -> Iterator[Make]:
    made: list[RelationSources] = []

    def make(order: Sequence[str], *, redis_port: int = 0, cassandra_port: int = 0) -> RelationSources:
        server = {"host": HOST, "port": redis_port or ports.redis, "db": DATABASE}
        config = replace(store_config, port=cassandra_port or ports.cassandra)
        known = {
            "redis": RelationCache(server=server, timeout=5.0, counters=counters, sleep=lambda _: None),
            "cassandra": RelationTable(config, table_in(hierarchy_store), counters),
        }
        made.append(RelationSources([known[name] for name in order], counters, clock))
        return made[-1]

    yield make
    for sources in made:
        sources.close()


def courses(count: int) -> list[str]:
    return [f"do_{uuid.uuid4().hex}" for _ in range(count)]


def simple(course: str, *contents: str, optional: Sequence[str] = ()) -> CourseTree:
    tree = course_of_units(course, {"unit": set(contents)})
    return CourseTree(course, tree.leaf_nodes, {course: optional, "unit": optional}, tree.ancestors)


def leaf_nodes(answer: object, course: str) -> frozenset[str] | None:
    assert isinstance(answer, CourseRelations)
    return answer.leaf_nodes.get(course)


@pytest.mark.parametrize("order", [("redis", "cassandra"), ("cassandra", "redis")])
def test_the_first_source_that_holds_a_course_s_leaf_nodes_answers_for_it(
    make: Make, in_redis: RelationSets, in_table: HierarchyStore, order: Sequence[str]
) -> None:
    both, one, other = courses(3)
    first, second = (in_redis, in_table) if order[0] == "redis" else (in_table, in_redis)
    first.fill(simple(both, "a"), simple(one, "b"))
    second.fill(simple(both, "x", "y"), simple(other, "c"))
    answers = make(order).read({both: {"a"}, one: {"b"}, other: {"c"}})
    assert {course: leaf_nodes(answer, course) for course, answer in answers.items()} == {
        both: frozenset("a"),
        one: frozenset("b"),
        other: frozenset("c"),
    }
    found = answers[other]
    assert isinstance(found, CourseRelations)
    assert (found.leaf_nodes["unit"], found.ancestors["c"]) == (frozenset("c"), frozenset({other, "unit"}))


def test_optional_nodes_of_another_source_are_not_mixed_in(
    make: Make, in_redis: RelationSets, in_table: HierarchyStore
) -> None:
    (course,) = courses(1)
    in_redis.fill(simple(course, "a", "b"))
    in_table.fill(simple(course, "a", "b", optional=["b"]))
    answer = make(["redis", "cassandra"]).read({course: {"a"}})[course]
    assert isinstance(answer, CourseRelations)
    assert answer.optional_nodes == {}


def test_units_of_a_course_without_leaf_nodes_come_from_the_first_that_knows_it(
    make: Make, in_table: HierarchyStore
) -> None:
    known, unknown = courses(2)
    in_table.fill(CourseTree(known, {"unit": {"a"}}, {}, {"a": {known, "unit"}}))
    answers = make(["redis", "cassandra"]).read({known: {"a"}, unknown: {"a"}})
    assert answers == {
        known: CourseRelations({"unit": frozenset("a")}, {}, {"a": frozenset({known, "unit"})}),
        unknown: CourseRelations(),
    }


def test_sets_are_counted_once_where_they_are_taken_from(
    make: Make, in_table: HierarchyStore, counters: Counters
) -> None:
    (course,) = courses(1)
    in_table.fill(simple(course, "a"))
    make(["redis", "cassandra"]).read({course: {"a"}})
    counted = counters.read()
    # leaf nodes of course and unit, ancestors; optional nodes of both
    assert (counted["cache_hit_count"], counted["cache_miss_count"]) == (3, 2)
    assert counted["relation_fallback_count"] == 0


def test_an_outage_of_the_first_is_answered_by_the_second_where_that_can(
    make: Make, in_table: HierarchyStore, counters: Counters, closed_port: int
) -> None:
    there, nowhere = courses(2)
    in_table.fill(simple(there, "a"))
    sources = make(["redis", "cassandra"], redis_port=closed_port)
    with capture_logs() as logs:
        for _ in range(3):
            answers = sources.read({there: {"a"}, nowhere: {"a"}})
            assert leaf_nodes(answers[there], there) == frozenset("a")
            assert isinstance(answers[nowhere], RelationCacheUnavailable)
    assert counters.read()["relation_fallback_count"] == 3
    (told,) = [it for it in logs if "next one answers" in it["event"]]
    assert (told["away"], told["answers"], told["courses"]) == ("redis", "cassandra", 1)


@pytest.mark.parametrize("order", [("redis", "cassandra"), ("cassandra", "redis")])
def test_a_course_is_never_missing_while_one_source_is_away(
    make: Make, in_redis: RelationSets, closed_port: int, order: Sequence[str]
) -> None:
    there, nowhere = courses(2)
    in_redis.fill(simple(there, "a"))
    answers = make(order, cassandra_port=closed_port).read({there: {"a"}, nowhere: {"a"}})
    assert leaf_nodes(answers[there], there) == frozenset("a")
    assert isinstance(answers[nowhere], StoreUnavailable)


def test_with_all_sources_away_the_first_one_s_outage_stands(make: Make, closed_port: int) -> None:
    (course,) = courses(1)
    sources = make(["redis", "cassandra"], redis_port=closed_port, cassandra_port=closed_port)
    assert isinstance(sources.read({course: ()})[course], RelationCacheUnavailable)
    probes = sources.probes()
    with pytest.raises(RelationCacheUnavailable):
        probes[Server.REDIS]()
    with pytest.raises(StoreUnavailable):
        probes[Server.CASSANDRA]()


def test_a_source_that_was_away_is_asked_last_for_a_while_and_first_again_then(
    make: Make, in_redis: RelationSets, in_table: HierarchyStore, clock: Clock, ports: Ports
) -> None:
    both, in_redis_alone = courses(2)
    in_redis.fill(simple(both, "a"), simple(in_redis_alone, "r"))
    in_table.fill(simple(both, "x"))
    with RedisProxy(ports.redis) as proxy:
        sources = make(["redis", "cassandra"], redis_port=proxy.port)

        def read() -> frozenset[str] | None:
            return leaf_nodes(sources.read({both: ()})[both], both)

        assert read() == frozenset("a")
        proxy.cut()
        assert read() == frozenset("x")
        proxy.is_cut = False
        answers = sources.read({both: (), in_redis_alone: ()})
        assert leaf_nodes(answers[both], both) == frozenset("x")
        assert leaf_nodes(answers[in_redis_alone], in_redis_alone) == frozenset("r")
        # it answered, so it is not away any more
        assert read() == frozenset("a")
        proxy.cut()
        assert read() == frozenset("x")
        proxy.is_cut = False
        clock.now += 5.1
        assert read() == frozenset("a")


def test_no_course_asks_nobody(make: Make, closed_port: int) -> None:
    assert make(["redis"], redis_port=closed_port).read({}) == {}
