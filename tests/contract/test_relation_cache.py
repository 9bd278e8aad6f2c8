"""The relation sets, read from a real Redis whose sets come and go as the job that fills them does it."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis
from structlog.testing import capture_logs

from devstack.ports import HOST, Ports
from devstack.stack import Stack
from reconciliation.counters import Counters
from reconciliation.errors import RelationCacheUnavailable
from reconciliation.model import CourseRelations
from reconciliation.relation_cache import RelationCache
from tests.support.waiting import wait_until

DATABASE = 10
COURSE = "do_course"


@pytest.fixture
def sets(ports: Ports) -> Iterator[redis.Redis]:
    client = redis.Redis(host=HOST, port=ports.redis, db=DATABASE)
    client.flushdb()
    yield client
    client.flushdb()
    client.close()


class Clock:
    """Seconds that pass when told to; a sleep is noted, does what the test wants, and takes no time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sleeps: list[float] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.meanwhile()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def server(port: int) -> dict[str, object]:
    return {"host": HOST, "port": port, "db": DATABASE}


@pytest.fixture
def cache(ports: Ports, counters: Counters, clock: Clock) -> Iterator[RelationCache]:
    cache = RelationCache(
        server=server(ports.redis),
        timeout=20.0,
        counters=counters,
        sleep=clock.sleep,
        clock=clock,
    )
    yield cache
    cache.close()


def fill(sets: redis.Redis, course: str = COURSE) -> None:
    sets.sadd(f"{course}:{course}:leafnodes", "a", "b", "c")
    sets.sadd(f"{course}:{course}:optionalnodes", "c")
    sets.sadd(f"{course}:unit1:leafnodes", "a", "b")
    sets.sadd(f"{course}:unit2:leafnodes", "b", "c")
    sets.sadd(f"{course}:unit2:optionalnodes", "c")
    sets.sadd(f"{course}:a:ancestors", course, "unit1")
    sets.sadd(f"{course}:b:ancestors", course, "unit1", "unit2")


def relations(course: str = COURSE) -> CourseRelations:
    return CourseRelations(
        leaf_nodes={
            course: frozenset("abc"),
            "unit1": frozenset("ab"),
            "unit2": frozenset("bc"),
        },
        optional_nodes={course: frozenset("c"), "unit2": frozenset("c")},
        ancestors={"a": frozenset({course, "unit1"}), "b": frozenset({course, "unit1", "unit2"})},
    )


def test_courses_are_read_together_and_without_a_wait(
    cache: RelationCache, sets: redis.Redis, clock: Clock, counters: Counters
) -> None:
    fill(sets)
    fill(sets, "other")

    assert cache.read({COURSE: ["a", "b", "unknown"], "other": {"a", "b"}}) == {
        COURSE: relations(),
        "other": relations("other"),
    }
    assert clock.sleeps == []
    assert counters.cache_hits._value.get() == 14
    assert counters.cache_misses._value.get() == 3, "ancestors of one content, optional nodes of unit1 in both courses"


def test_nothing_wanted_asks_nothing(cache: RelationCache) -> None:
    assert cache.read({}) == {}


def test_a_course_without_contents_is_read(cache: RelationCache, sets: redis.Redis) -> None:
    fill(sets)

    read = cache.read({COURSE: ()})

    assert read[COURSE].leaf_nodes == {COURSE: frozenset("abc")}
    assert read[COURSE].ancestors == {}


def test_leaf_nodes_that_appear_during_the_wait_are_found(
    cache: RelationCache, sets: redis.Redis, clock: Clock, counters: Counters
) -> None:
    fill(sets)
    sets.delete(f"{COURSE}:{COURSE}:leafnodes", f"{COURSE}:unit2:leafnodes")
    clock.meanwhile = lambda: fill(sets)

    assert cache.read({COURSE: ["a", "b"]}) == {COURSE: relations()}
    assert clock.sleeps == [0.3]
    assert counters.cache_hits._value.get() == 7
    assert counters.cache_misses._value.get() == 1


def test_whatever_of_a_course_appears_during_the_wait_is_found_with_its_leaf_nodes(
    cache: RelationCache, sets: redis.Redis, clock: Clock
) -> None:
    # leaf nodes without their optional nodes would require too much, and without ancestors there would be no units
    sets.delete(*sets.keys(f"{COURSE}:*") or ["nothing"])
    clock.meanwhile = lambda: fill(sets)

    assert cache.read({COURSE: ["a", "b"]}) == {COURSE: relations()}
    assert clock.sleeps == [0.3]


def test_the_second_round_trip_asks_again_for_what_the_first_missed(
    cache: RelationCache, sets: redis.Redis, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(sets)
    # All sets of the course are in the gap at the first look, those of its units too, since they are unknown.
    sets.delete(*sets.keys(f"{COURSE}:*"))
    ask = cache._members
    looks: list[int] = []

    def ask_then_fill(keys: list[bytes]) -> list[object]:
        answers = ask(keys)
        looks.append(len(keys))
        if len(looks) == 1:
            fill(sets)
        return answers

    monkeypatch.setattr(cache, "_members", ask_then_fill)

    assert cache.read({COURSE: ["a", "b"]}) == {COURSE: relations()}
    assert looks == [4, 4, 4], "four sets, the same again, then those of the two units that the repeat revealed"
    assert clock.sleeps == []


def test_a_set_that_another_thread_re_adds_is_found_with_the_real_clock(
    ports: Ports, sets: redis.Redis, counters: Counters
) -> None:
    fill(sets)
    sets.delete(f"{COURSE}:{COURSE}:leafnodes")
    job = threading.Timer(0.3, fill, [sets])

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        # on a busy machine the job may be late
        job.join()

    cache = RelationCache(server=server(ports.redis), timeout=20.0, counters=counters, gap_wait=1.0, sleep=sleep)
    job.start()

    assert cache.read({COURSE: ["a", "b"]}) == {COURSE: relations()}
    job.join()
    cache.close()


def test_missing_optional_nodes_are_not_waited_for(cache: RelationCache, sets: redis.Redis, clock: Clock) -> None:
    sets.sadd(f"{COURSE}:{COURSE}:leafnodes", "a")

    read = cache.read({COURSE: ["a"]})

    assert read == {COURSE: CourseRelations({COURSE: frozenset("a")}, {}, {})}
    assert clock.sleeps == []


def test_a_stale_unit_is_waited_for_once_in_10_seconds(cache: RelationCache, sets: redis.Redis, clock: Clock) -> None:
    fill(sets)
    sets.delete(f"{COURSE}:unit2:leafnodes")

    cache.read({COURSE: ["b"]})
    clock.now = 9
    assert "unit2" not in cache.read({COURSE: ["b"]})[COURSE].leaf_nodes
    assert clock.sleeps == [0.3]
    clock.now = 11
    cache.read({COURSE: ["b"]})
    assert clock.sleeps == [0.3, 0.3]


def test_a_set_that_came_back_is_waited_for_when_it_goes_again(
    cache: RelationCache, sets: redis.Redis, clock: Clock
) -> None:
    cache.read({COURSE: []})
    fill(sets)
    assert cache.read({COURSE: []})[COURSE].leaf_nodes[COURSE] == frozenset("abc")
    sets.delete(f"{COURSE}:{COURSE}:leafnodes")
    clock.meanwhile = lambda: fill(sets)

    assert cache.read({COURSE: []})[COURSE].leaf_nodes[COURSE] == frozenset("abc")
    assert clock.sleeps == [0.3, 0.3]


def test_a_key_of_another_type_is_missing_and_spoils_nothing(cache: RelationCache, sets: redis.Redis) -> None:
    fill(sets)
    sets.delete(f"{COURSE}:unit2:optionalnodes")
    sets.set(f"{COURSE}:unit2:optionalnodes", "c")

    with capture_logs() as logs:
        read = cache.read({COURSE: ["a", "b"]})

    assert "unit2" not in read[COURSE].optional_nodes
    assert read[COURSE].leaf_nodes == relations().leaf_nodes
    assert [entry["log_level"] for entry in logs] == ["warning"]


def test_members_that_are_no_utf8_count_but_match_nothing(cache: RelationCache, sets: redis.Redis) -> None:
    sets.sadd(f"{COURSE}:{COURSE}:leafnodes", "a", b"\xff\xfe")
    sets.sadd(f"{COURSE}:a:ancestors", COURSE, b"\xff", "एकक-🎓")

    with capture_logs():
        read = cache.read({COURSE: ["a"], "\udc80": ["\udc81"]})

    assert len(read[COURSE].leaf_nodes[COURSE]) == 2
    assert "a" in read[COURSE].leaf_nodes[COURSE]
    assert read[COURSE].ancestors["a"] == {COURSE, "एकक-🎓"}
    assert read["\udc80"] == CourseRelations()


def test_a_closed_port_is_an_outage_at_once(counters: Counters, closed_port: int) -> None:
    cache = RelationCache(server=server(closed_port), timeout=1.0, counters=counters)
    begun = time.monotonic()

    with pytest.raises(RelationCacheUnavailable):
        cache.read({COURSE: ["a"]})
    with pytest.raises(RelationCacheUnavailable):
        cache.probe()

    # it would wait for minutes for a server that may come back
    assert time.monotonic() - begun < 20
    cache.close()


def test_a_redis_that_hangs_is_an_outage_within_the_time_limit(
    sets: redis.Redis, stack: Stack, ports: Ports, counters: Counters, eventually: Callable[..., None]
) -> None:
    fill(sets)
    hasty = RelationCache(server=server(ports.redis), timeout=0.5, counters=counters)
    eventually(hasty.probe, RelationCacheUnavailable, limit=40)
    stack.server("redis").stop()
    begun = time.monotonic()
    try:
        with pytest.raises(RelationCacheUnavailable):
            hasty.read({COURSE: ["a"]})
        waited = time.monotonic() - begun
    finally:
        stack.server("redis").resume()

    assert waited < 15
    wait_until("Redis answers", sets.ping)
    eventually(hasty.probe, RelationCacheUnavailable, limit=40)
    read: list[object] = []
    eventually(lambda: read.append(hasty.read({COURSE: ["a", "b"]})), RelationCacheUnavailable, limit=40)
    assert read == [{COURSE: relations()}]
    hasty.close()


def test_a_right_that_is_missing_is_an_outage_and_no_missing_set(
    ports: Ports, sets: redis.Redis, counters: Counters
) -> None:
    fill(sets)
    cache = RelationCache(server=server(ports.redis), timeout=2.0, counters=counters)
    # not by acl_setuser, which switches the user off as well (redis/commands/core.py)
    sets.execute_command("ACL", "SETUSER", "default", "-smembers")
    try:
        with pytest.raises(RelationCacheUnavailable):
            cache.read({COURSE: ["a"]})
    finally:
        sets.execute_command("ACL", "SETUSER", "default", "+smembers")
    cache.close()


def test_a_redis_that_has_forgotten_the_script_is_given_it_again(cache: RelationCache, sets: redis.Redis) -> None:
    fill(sets)
    assert cache.read({COURSE: ["a", "b"]}) == {COURSE: relations()}
    sets.script_flush()
    assert cache.read({COURSE: ["a", "b"]}) == {COURSE: relations()}


def test_a_course_of_more_sets_than_a_script_reads_is_read_whole(cache: RelationCache, sets: redis.Redis) -> None:
    contents = [f"content{number}" for number in range(1_200)]
    for content in contents:
        sets.sadd(f"{COURSE}:{content}:ancestors", COURSE, f"unit of {content}")
    (found,) = cache.read({COURSE: contents}).values()
    assert found.ancestors == {content: {COURSE, f"unit of {content}"} for content in contents}
