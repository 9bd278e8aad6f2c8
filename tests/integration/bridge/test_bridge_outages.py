"""Servers that go and come back, and a ledger that is full or forgets: nothing is committed too early, nothing lost."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from devstack.ports import HOST, Ports, free_port
from devstack.redis import find_redis
from devstack.stack import Stack
from devstack.topics import create_topics, topic_names
from tests.integration.bridge.conftest import MakeStand
from tests.integration.bridge.harness import BridgeStand, learners, open_ids, settle, wait_told
from tests.support.installation import unique
from tests.support.redis_proxy import RedisProxy, ledger_step
from tests.support.relay import Treatment
from tests.support.waiting import wait_until

#: How often a bridge has to have tried before a test holds against it what it did or said.
TRIES = 4


@pytest.mark.parametrize("harm", ["hangs", "is killed"])
def test_redis_away_pauses_and_nothing_is_committed_meanwhile(stack: Stack, stand: BridgeStand, harm: str) -> None:
    sent = stand.send(*learners(5))
    bridge = stand.bridge(REDIS_TIMEOUT="1")
    stand.wait_committed()
    before = stand.commits()
    server = stack.server("redis")
    if harm == "hangs":
        server.stop()
    else:
        server.kill()
    try:
        sent += stand.send(*learners(40))
        wait_told(bridge, "paused")
        assert bridge.is_running
        assert {number: offset for number, (offset, _) in stand.commits().items()} == {
            number: offset for number, (offset, _) in before.items()
        }
    finally:
        if harm == "hangs":
            server.resume()
        else:
            server.start()
    stand.wait_committed()
    wait_told(bridge, "resumed")
    assert open_ids(stand, sent)
    assert {ticket[0] for message in stand.messages() for ticket in message.tickets} == set(stand.entries())
    bridge.end()


@contextmanager
def second_redis(port: int) -> Iterator[None]:
    command = [find_redis(), "--port", str(port), "--bind", HOST, "--save", "", "--daemonize", "no"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            yield
        finally:
            server.kill()


def test_a_broker_away_holds_the_offset_though_the_ledger_is_there(make_stand: MakeStand) -> None:
    port = free_port()
    settings = {"LEDGER_SWEEP_AFTER": "1", "BRIDGE_GROUP_SIZE": "15"}
    stand = make_stand(CELERY_BROKER_URL=f"redis://{HOST}:{port}/0", **settings)
    stand.settings["LEDGER_REDIS_URL"] = stand.ports.redis_url(0)
    sent = stand.send(*learners(30))
    bridge = stand.bridge()
    wait_told(bridge, "Celery's broker does not answer")
    wait_until("the ledger has what was taken", lambda: len(stand.entries()) > 0)
    assert stand.commits() == {}
    with second_redis(port):
        stand.wait_committed()
        broker: Any = redis.Redis(host=HOST, port=port)
        assert open_ids(stand, sent)
        # other messages may follow from the sweep
        assert broker.llen(f"{stand.group_id}:celery:{stand.group_id}") >= 2
        bridge.end()


def test_a_hanging_redis_is_told_of_without_a_flood(stand: BridgeStand) -> None:
    with RedisProxy(stand.ports.redis) as proxy:
        bridge = stand.bridge(CELERY_BROKER_URL=proxy.url, REDIS_TIMEOUT="1")
        wait_told(bridge, "partitions assigned")
        with proxy.fault(Treatment.DROP_REQUEST, lambda _: True) as hanging:
            wait_told(bridge, "paused")
            hanging.wait(len(hanging.seen) + 2 * TRIES)
            assert bridge.output().count("paused") == 1
        wait_told(bridge, "resumed")
        bridge.end()


def test_while_accepting_alone_fails_what_is_overdue_is_sent_again(stand: BridgeStand) -> None:
    # the grace after an outage is longer than the time from one failure to the next
    settings = {"LEDGER_SWEEP_AFTER": "1", "LEDGER_SWEEP_INTERVAL": "0.1", "LEDGER_LEASE": "36", "REDIS_TIMEOUT": "1"}
    with RedisProxy(stand.ports.redis) as proxy:
        bridge = stand.bridge(CELERY_BROKER_URL=proxy.url, **settings)
        (first,) = stand.send(*learners(1))
        stand.wait_committed()
        with proxy.fault(Treatment.DROP_REQUEST, ledger_step("accept")) as failing:
            stand.send(*learners(1))
            wait_told(bridge, "the ledger's Redis does not answer")

            def sendings() -> int:
                return int(stand.entries()[stand.entry_id(first)]["sweeps"])

            before = sendings()
            wait_until("it is sent again", lambda: sendings() > before, 90)
            assert len(failing.seen) >= TRIES
            assert len(stand.entries()) == 1
        stand.wait_committed()
        wait_told(bridge, "resumed")
        assert len(stand.entries()) == 2
        bridge.end()


def test_a_full_ledger_pauses_and_goes_on_below_its_bound(make_stand: MakeStand, ports: Ports) -> None:
    with RedisProxy(ports.redis) as proxy:
        stand = make_stand(LEDGER_MAX_OPEN="10", CELERY_BROKER_URL=proxy.url)
        sent = stand.send(*learners(25))
        bridge = stand.bridge()
        wait_told(bridge, "the ledger is full")
        assert stand.open_count() == 10
        held = stand.commits()
        assert sum(max(offset, 0) for offset, _ in held.values()) <= 10

        first = next(iter(stand.entries()))
        settle(stand, [first])
        looks = proxy.count(ledger_step("occupancy"))
        wait_until("it has looked again and again", lambda: looks.count >= TRIES)
        assert stand.open_count() == 9, "one below the bound is too few to go on"

        settled = {first}
        while len(settled) < len(sent):
            # only what was listed is settled: the bridge accepts more at any moment
            listed = wait_until("more is accepted", lambda: list(stand.entries()))
            settle(stand, listed)
            settled.update(listed)
        stand.wait_committed()
        wait_told(bridge, "resumed")
        assert settled == {stand.entry_id(place) for place in sent}
        bridge.end()


def test_failed_events_that_kafka_does_not_take_hold_the_offset(make_stand: MakeStand) -> None:
    environment = unique("test")
    requests, failed, _, _ = topic_names(environment)
    stand = make_stand(environment, KAFKA_TIMEOUT="2")
    create_topics(stand.ports.bootstrap, [requests], partitions=1)
    stand.send_values(b"garbage")
    sent = stand.send(*learners(3))
    bridge = stand.bridge()

    wait_told(bridge, "Kafka does not confirm failed events")
    wait_until("requests behind it are accepted all the same", lambda: open_ids(stand, sent))
    assert stand.commits() == {}

    create_topics(stand.ports.bootstrap, [failed], partitions=1)
    stand.wait_committed(60)
    assert [record.event["failInfo"]["event"] for record in stand.failed.records()] == ["garbage"] * len(
        stand.failed.records()
    )
    bridge.end()


def test_the_data_of_redis_goes_while_the_bridge_runs(stand: BridgeStand) -> None:
    sent = stand.send(*learners(30))
    bridge = stand.bridge()
    stand.wait_committed()
    forget(stand)
    wait_told(bridge, "read again")
    wait_until("all are there again", lambda: open_ids(stand, sent))
    assert {entry["repeated"] for entry in stand.entries().values()} == {"1"}

    # what comes afterwards is no repeat, and the commits name the new ledger
    (later,) = stand.send(*learners(1))
    stand.wait_committed()
    assert stand.entries()[stand.entry_id(later)]["repeated"] == "0"
    epoch = stand.redis.get(stand.ledger_prefix + "epoch")
    assert epoch is not None
    wait_until(
        "the marks name the new ledger",
        lambda: {mark["epoch"] for _, mark in stand.commits().values()} == {epoch.decode()},
    )
    bridge.end()


def test_the_data_of_redis_goes_while_no_bridge_runs(stand: BridgeStand) -> None:
    sent = stand.send(*learners(30))
    first = stand.bridge()
    stand.wait_committed()
    first.end()
    forget(stand)
    bridge = stand.bridge()
    wait_until("all are there again", lambda: open_ids(stand, sent))
    assert {entry["repeated"] for entry in stand.entries().values()} == {"1"}
    bridge.end()
    assert {mark["oldest"] for offset, mark in stand.commits().values() if offset > 0} == {0}


def test_only_what_was_open_is_read_again(make_stand: MakeStand) -> None:
    environment = unique("test")
    stand = make_stand(environment)
    create_topics(stand.ports.bootstrap, topic_names(environment), partitions=1)
    settled = stand.send(*learners(10))
    bridge = stand.bridge()
    stand.wait_committed()
    settle(stand, [stand.entry_id(place) for place in settled])
    opened = stand.send(*learners(5))
    stand.wait_committed()
    bridge.kill()
    forget(stand)
    stand.bridge()
    wait_until("the open ones are there again", lambda: len(stand.entries()) >= 5)
    stand.send(*learners(1))
    stand.wait_committed()
    assert stand.entry_id(opened[0]) in stand.entries()
    assert len(stand.entries()) == 6


def test_a_mark_made_by_hand_makes_records_repeats(make_stand: MakeStand) -> None:
    environment = unique("test")
    stand = make_stand(environment)
    create_topics(stand.ports.bootstrap, topic_names(environment), partitions=1)
    sent = stand.send(*learners(6))
    first = stand.bridge()
    stand.wait_committed()
    first.end()
    settle(stand, list(stand.entries()))
    _, mark = stand.commits()[0]
    identity = f'"epoch":"{mark["epoch"]}","run":"{mark["run"]}"'
    stand.commit_by_hand(0, 2, f'{{"v":1,{identity},"oldest":null,"repeated":5}}')
    stand.bridge()
    stand.wait_committed()
    entries = stand.entries()
    assert [entries[stand.entry_id(place)]["repeated"] for place in sent[2:]] == ["1", "1", "1", "0"]
    assert len(entries) == 4


def forget(stand: BridgeStand) -> None:
    """Let Redis lose this ledger, as FLUSHALL does."""
    keys = list(stand.redis.scan_iter(stand.ledger_prefix + "*", count=1000))
    with stand.redis.pipeline(transaction=True) as together:
        together.delete(*keys)
        together.execute()
