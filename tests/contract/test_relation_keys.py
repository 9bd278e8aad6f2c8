"""Which keys of the relation cache a course's id can name: its own suffixes, to be read and never written."""

from collections.abc import Iterator

import pytest
import redis

from devstack.ports import HOST, Ports
from reconciliation.counters import Counters
from reconciliation.relation_cache import RelationCache

DATABASE = 10
SUFFIXES = (b":leafnodes", b":optionalnodes", b":ancestors")

#: Keys that are none of a course's: made up after the ledger's and the broker's, in case all lie in one database.
OTHERS: dict[bytes, bytes] = {
    b"enrolment-reconciliation:{group}:count": b"7",
    b"enrolment-reconciliation:{group}:entry:1": b"entry",
    b"group:celery:group": b"queue",
    b"a:b": b"x",
    b"": b"x",
}

HOSTILE = [
    "a:b",
    "enrolment-reconciliation:{group}:entry",
    "enrolment-reconciliation:{group}:due\x00",
    "*",
    "a:b:leafnodes\r\nDEL a:b\r\n",
    "') redis.call('FLUSHALL') --",
    "\x00",
    "x" * 1024,
    ":",
    "leafnodes",
]


@pytest.fixture
def cache_redis(ports: Ports) -> Iterator[redis.Redis]:
    client = redis.Redis(host=HOST, port=ports.redis, db=DATABASE)
    client.flushdb()
    client.mset(OTHERS)
    yield client
    client.flushdb()
    client.close()


def read(ports: Ports, counters: Counters, *course_ids: str) -> object:
    server = {"host": HOST, "port": ports.redis, "db": DATABASE}
    cache = RelationCache(server=server, timeout=5, counters=counters, sleep=lambda _: None)
    try:
        return cache.read({course_id: [course_id, "content"] for course_id in course_ids})
    finally:
        cache.close()


def test_hostile_courses_read_sets_and_change_nothing(
    ports: Ports, counters: Counters, cache_redis: redis.Redis
) -> None:
    with cache_redis.monitor() as monitor:
        read(ports, counters, *HOSTILE)
        cache_redis.echo("the end")
        commands = []
        while (seen := monitor.next_command())["command"] != "ECHO the end":
            if seen["client_type"] == "lua":
                commands.append(seen["command"])
    assert len(commands) >= 4 * len(HOSTILE)
    assert all(command.startswith("SMEMBERS ") for command in commands)
    assert all(command.encode("utf-8", "replace").endswith(SUFFIXES) for command in commands)
    assert {key: cache_redis.get(key) for key in cache_redis.scan_iter()} == OTHERS


def test_a_course_s_id_with_colons_may_name_another_course_s_set_and_only_reads_it(
    ports: Ports, counters: Counters, cache_redis: redis.Redis
) -> None:
    """Course `a` has a unit `b:a:b`: its set is also what the course `a:b` would have. It is read, as a set."""
    cache_redis.sadd("a:b:a:b:leafnodes", "of another course")
    found = read(ports, counters, "a:b")
    assert isinstance(found, dict)
    assert found["a:b"].leaf_nodes == {"a:b": frozenset({"of another course"})}
    assert cache_redis.smembers("a:b:a:b:leafnodes") == {b"of another course"}
