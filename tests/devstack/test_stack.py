"""A stack comes up, stays as it is, heals, goes down without a trace, and leaves its neighbour alone."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from devstack.cassandra import session
from devstack.ports import HOST, Ports, is_free
from devstack.stack import Stack
from devstack.topics import topic_names
from tests.support.processes import has_ended

ENVIRONMENT = "second"
KEYSPACE = "second_courses"


def _pids(stack: Stack) -> dict[str, int | None]:
    return {name: server.pid for name, server in stack.servers.items()}


def _run(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    moved = {
        "DEVSTACK_DIR": str(stack.directory),
        "DEVSTACK_KAFKA_PORT": str(stack.ports.kafka),
        "DEVSTACK_CASSANDRA_PORT": str(stack.ports.cassandra),
        "DEVSTACK_REDIS_PORT": str(stack.ports.redis),
        "ENV": ENVIRONMENT,
        "LMS_CASSANDRA_KEYSPACE": KEYSPACE,
    }
    command = [sys.executable, "-m", "devstack", *arguments]
    return subprocess.run(command, env=os.environ | moved, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory, unused_ports: Ports) -> Iterator[Stack]:
    """A stack beside the tests' own, started by the command line."""
    servers = Stack(tmp_path_factory.mktemp("second"), unused_ports, environment=ENVIRONMENT, keyspace=KEYSPACE)
    try:
        answer = _run(servers, "up")
        assert answer.returncode == 0, answer.stdout + answer.stderr
        yield servers
    finally:
        servers.down()


def test_two_stacks_run_side_by_side_and_know_nothing_of_each_other(stack: Stack, second: Stack) -> None:
    assert [status for status in (*stack.status(), *second.status()) if not status.answers] == []
    assert set(_pids(stack).values()).isdisjoint(_pids(second).values())
    with session(HOST, stack.ports.cassandra) as first, session(HOST, second.ports.cassandra) as other:
        find = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = %s"
        assert first.execute(find, (KEYSPACE,)).all() == []
        assert len(other.execute(find, (KEYSPACE,)).all()) == 1
        assert first.execute("SELECT peer FROM system.peers_v2").all() == []
    topics = {
        servers: set(AdminClient({"bootstrap.servers": servers.ports.bootstrap}).list_topics(timeout=10).topics)
        for servers in (stack, second)
    }
    assert set(topic_names(ENVIRONMENT)) <= topics[second]
    assert not set(topic_names(ENVIRONMENT)) & topics[stack]


def test_every_server_listens_on_this_machine_alone(second: Stack) -> None:
    for name, pid in _pids(second).items():
        assert pid is not None
        listening = [
            connection.laddr.ip.removeprefix("::ffff:")
            for connection in psutil.Process(pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert listening, name
        assert set(listening) == {HOST}, name


def test_redis_forgets_nothing_by_itself(second: Stack) -> None:
    with redis.Redis(host=HOST, port=second.ports.redis) as client:
        wanted = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "databases": "16"}
        assert {name: client.config_get(name)[name] for name in wanted} == wanted


def test_up_again_changes_nothing_and_says_so(second: Stack) -> None:
    before = _pids(second)
    answer = _run(second, "up")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("already running") == 3
    assert "fetch" not in answer.stdout
    assert _pids(second) == before
    assert _run(second, "status").returncode == 0


@pytest.mark.parametrize("fault", ["kill", "stop"])
def test_a_dead_or_frozen_server_is_started_again_and_the_others_stay(second: Stack, fault: str) -> None:
    before = _pids(second)
    getattr(second.server("redis"), fault)()
    assert _run(second, "status").returncode == 1
    answer = _run(second, "up")
    assert answer.returncode == 0, answer.stderr
    after = _pids(second)
    assert after["redis"] not in (None, before["redis"])
    assert (after["kafka"], after["cassandra"]) == (before["kafka"], before["cassandra"])


def test_what_was_acknowledged_survives_a_kill_and_down(second: Stack) -> None:
    topic = topic_names(ENVIRONMENT)[0]
    producer = Producer({"bootstrap.servers": second.ports.bootstrap, "acks": "all"})
    producer.produce(topic, b"request", partition=0)
    assert producer.flush(60) == 0
    with session(HOST, second.ports.cassandra) as connected:
        connected.set_keyspace(KEYSPACE)
        connected.execute("INSERT INTO user_enrolments (userid, courseid, batchid, status) VALUES ('u', 'c', 'b', 1)")
    with redis.Redis(host=HOST, port=second.ports.redis) as client:
        client.set("kept", "yes")
    # At once after the acknowledgement: nothing was flushed in order.
    second.server("cassandra").kill()
    second.server("kafka").kill()
    pids = _pids(second)
    assert (pids["cassandra"], pids["kafka"]) == (None, None)
    assert pids["redis"] is not None

    answer = _run(second, "down")
    assert answer.returncode == 0, answer.stderr
    assert list(_pids(second).values()) == [None, None, None]
    assert has_ended(pids["redis"])
    assert all(is_free(port) for port in (second.ports.kafka, second.ports.cassandra, second.ports.redis))
    assert _run(second, "down").returncode == 0

    second.up()
    with session(HOST, second.ports.cassandra) as connected:
        connected.set_keyspace(KEYSPACE)
        assert connected.execute("SELECT status FROM user_enrolments").one().status == 1
    with redis.Redis(host=HOST, port=second.ports.redis) as client:
        assert client.get("kept") == b"yes"
    assert _end_of(second, topic) == 1


def _end_of(stack: Stack, topic: str) -> int:
    consumer = Consumer({"bootstrap.servers": stack.ports.bootstrap, "group.id": "reader"})
    try:
        _low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
    finally:
        consumer.close()
    return int(high)


def test_a_taken_port_is_named_with_the_next_step_and_nothing_stays(tmp_path: Path, more_unused_ports: Ports) -> None:
    other = Stack(tmp_path / "other", more_unused_ports)
    with socket.create_server((HOST, other.ports.redis)):
        answer = _run(other, "up")
    assert answer.returncode == 1
    assert f"redis: port {other.ports.redis} on {HOST} is taken by" in answer.stderr
    assert f"process {os.getpid()}" in answer.stderr
    assert "Next step:" in answer.stderr
    assert "DEVSTACK_REDIS_PORT" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert list(_pids(other).values()) == [None, None, None]
    assert _run(other, "down", "--delete").returncode == 0
    assert not other.directory.exists()
