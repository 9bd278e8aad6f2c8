"""The bridge as a process: killed at any step, beside a second one, stopped, set up wrongly, without its servers."""

import signal
import socket
import sys
import time

import pytest

from bridge.start import GRACE
from devstack.ports import HOST
from devstack.stack import Stack
from devstack.topics import create_topics, topic_names
from tests.integration.bridge.conftest import MakeStand
from tests.integration.bridge.dying import STEPS
from tests.integration.bridge.harness import BridgeStand, learners, open_ids, wait_told
from tests.integration.bridge.test_bridge_outages import forget
from tests.support.ended import ended
from tests.support.installation import unique
from tests.support.kafka_proxy import KafkaProxy
from tests.support.processes import BRIDGE
from tests.support.redis_proxy import RedisProxy, any_script
from tests.support.relay import Treatment
from tests.support.waiting import wait_until

#: How long a bridge may take to end, in seconds (docs/reliability.md).
PROMISED_SECONDS = 10.0
#: How often a server that is not there is looked for before a test holds what was said against it.
TRIES = 5


def test_a_bridge_killed_at_any_step_loses_nothing(make_stand: MakeStand) -> None:
    stands = {step: make_stand() for step in STEPS}
    sent = {}
    for step, stand in stands.items():
        stand.send_values(b"garbage")
        sent[step] = stand.send(*learners(60))
        bridge = stand.bridge((sys.executable, "-m", "tests.integration.bridge.dying", step))
        if step == "in a revoke":
            stand.wait_committed()
            bridge.ask_to_end()
        assert bridge.wait() == -signal.SIGKILL
        bridge.kill()  # it may have ended, and has
    for stand in stands.values():
        stand.bridge()
    for step, stand in stands.items():
        stand.wait_committed(60)
        assert open_ids(stand, sent[step]), step
        assert stand.open_count() == 60, step
        assert {ticket[0] for message in stand.messages() for ticket in message.tickets} == set(stand.entries()), step
        assert {record.event["failInfo"]["event"] for record in stand.failed.records()} == {"garbage"}, step


def test_a_bridge_killed_again_and_again_loses_nothing(make_stand: MakeStand) -> None:
    stand = make_stand(BRIDGE_POLL_RECORDS="20", LEDGER_MAX_OPEN="1000000")
    sent = stand.send(*learners(1_000))
    for _ in range(3):
        before = stand.open_count()
        sent += stand.send(*learners(1_000))
        bridge = stand.bridge()
        wait_until("it got on", lambda: stand.open_count() > before + 100, 60)  # noqa: B023 - called at once
        bridge.kill()
    stand.bridge()
    stand.wait_committed(60)
    assert open_ids(stand, sent)
    assert stand.open_count() == 4_000


def test_two_bridges_share_the_partitions_and_one_takes_over(stand: BridgeStand) -> None:
    first = stand.bridge()
    wait_told(first, "partitions=[0, 1]")
    second = stand.bridge()
    wait_told(second, "partitions assigned")
    sent = stand.send(*learners(30))
    stand.wait_committed()
    second.kill()
    sent += stand.send(*learners(30))
    stand.wait_committed(60)
    assert open_ids(stand, sent)
    assert stand.open_count() == 60
    first.end()


def test_partitions_move_while_the_ledger_is_full(make_stand: MakeStand) -> None:
    stand = make_stand(LEDGER_MAX_OPEN="10")
    stand.send(*learners(40))
    first = stand.bridge()
    wait_told(first, "paused")
    second = stand.bridge()
    wait_told(second, "partitions assigned")
    wait_told(second, "paused")
    assert stand.open_count() == 10
    assert sum(max(offset, 0) for offset, _ in stand.commits().values()) <= 10
    first.end()
    second.end()


def test_sigterm_ends_a_busy_bridge_in_order(stand: BridgeStand) -> None:
    sent = stand.send(*learners(3_000))
    bridge = stand.bridge()
    wait_until("it works", lambda: stand.open_count() > 0)
    started = time.monotonic()
    bridge.end()
    # it gives itself less than was promised; the rest is a busy machine's
    assert GRACE < PROMISED_SECONDS
    assert time.monotonic() - started < PROMISED_SECONDS + 15
    committed = sum(offset for offset, _ in stand.commits().values())
    if "in the middle of a round" not in bridge.output():
        assert committed == stand.open_count(), "what was accepted is committed"
    assert committed <= stand.open_count()
    assert len(sent) == 3_000


@pytest.mark.parametrize("away", ["redis", "kafka"])
def test_sigterm_ends_a_bridge_whose_servers_hang(stack: Stack, stand: BridgeStand, away: str) -> None:
    bridge = stand.bridge(REDIS_TIMEOUT="1")
    wait_told(bridge, "partitions assigned")
    wait_until("it knows its ledger", lambda: stand.redis.exists(stand.ledger_prefix + "epoch"))
    server = stack.server(away)
    server.stop()
    try:
        if away == "kafka":
            # of Kafka it hears nothing more, and would ask it nothing: a ledger that forgot sends it there
            forget(stand)
        wait_told(bridge, "paused")
        started = time.monotonic()
        bridge.end()
        assert time.monotonic() - started < 30
    finally:
        server.resume()


def test_a_second_sigterm_ends_at_once(stand: BridgeStand) -> None:
    with RedisProxy(stand.ports.redis) as proxy:
        bridge = stand.bridge(REDIS_TIMEOUT="30", CELERY_BROKER_URL=proxy.url)
        wait_told(bridge, "partitions assigned")
        held = proxy.fault(Treatment.HOLD_REQUEST, any_script)
        stand.send(*learners(1))
        held.wait()
        bridge.ask_to_end()
        wait_told(bridge, "stopping")
        bridge.ask_to_end()
        assert bridge.wait(30) == 0
        assert "stopped in the middle of a round" not in bridge.output()
        held.forget()
    assert stand.commits() == {}


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["-h"], 0), (["--group-size", "5"], 2)])
def test_a_bridge_takes_no_arguments_and_says_where_settings_are(arguments: list[str], code: int) -> None:
    told = ended(*BRIDGE, *arguments, limit=30)
    assert told.returncode == code
    said, other = (told.stdout, told.stderr) if code == 0 else (told.stderr, told.stdout)
    assert "docs/settings.md" in said
    assert other == ""


def test_a_wrong_setting_is_one_line() -> None:
    told = ended(*BRIDGE, limit=30, BRIDGE_GROUP_SIZE="many")
    assert told.returncode == 2
    assert len(told.stderr.splitlines()) == 1
    assert "bridge.group.size" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_redis_that_may_evict_is_refused(stand: BridgeStand) -> None:
    stand.redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        told = ended(*BRIDGE, limit=30, **stand.settings)
    finally:
        stand.redis.config_set("maxmemory-policy", "noeviction")
    assert told.returncode == 2
    assert "noeviction" in told.stderr.splitlines()[-1]
    assert "Traceback" not in told.stderr


def test_a_redis_that_is_out_of_memory_takes_nothing_in_and_is_swept_all_the_same(stand: BridgeStand) -> None:
    bridge = stand.bridge(LEDGER_SWEEP_AFTER="1", LEDGER_SWEEP_INTERVAL="0.1", LEDGER_LEASE="30")
    (first,) = stand.send(*learners(1))
    stand.wait_committed()
    stand.redis.config_set("maxmemory", 1)
    try:
        (second,) = stand.send(*learners(1))
        wait_told(bridge, "the ledger is full")
        swept = int(stand.entries()[stand.entry_id(first)]["sweeps"])
        # its message may be refused, where this Redis is the broker too
        wait_until("the sweep", lambda: int(stand.entries()[stand.entry_id(first)]["sweeps"]) > swept)
        assert open_ids(stand, [first])
    finally:
        stand.redis.config_set("maxmemory", 0)
    stand.wait_committed()
    assert open_ids(stand, [first, second])
    bridge.end()


def test_kafka_that_is_not_there_is_told_of_and_waited_for(stand: BridgeStand) -> None:
    with KafkaProxy(stand.ports.kafka) as proxy:
        proxy.cut()
        bridge = stand.bridge(KAFKA_BROKER_SERVERS=proxy.bootstrap)
        wait_told(bridge, "Kafka reports a problem")
        before = proxy.turned_away
        wait_until("it tries again and again", lambda: proxy.turned_away >= before + TRIES)
        assert bridge.is_running
        assert len(bridge.output().splitlines()) <= 5
        bridge.end()


def test_a_missing_topic_is_named_and_waited_for(make_stand: MakeStand) -> None:
    stand = make_stand(unique("test"))
    bridge = stand.bridge()
    wait_told(bridge, "the input topic does not exist")
    assert f"--create --topic {stand.input_topic}" in bridge.output()
    create_topics(stand.ports.bootstrap, topic_names(stand.environment))
    sent = stand.send(*learners(2))
    stand.wait_committed(60)
    assert open_ids(stand, sent)
    bridge.end()


def test_a_taken_metrics_port_is_only_told(stand: BridgeStand) -> None:
    with socket.create_server((HOST, 0)) as taken:
        bridge = stand.bridge(METRICS_BRIDGE_PORT=str(taken.getsockname()[1]))
        wait_told(bridge, "METRICS_BRIDGE_PORT")
        sent = stand.send(*learners(1))
        stand.wait_committed()
        assert open_ids(stand, sent)
        bridge.end()


def test_passwords_are_not_logged(stand: BridgeStand) -> None:
    bridge = stand.bridge(CELERY_BROKER_URL=f"redis://:broker-secret@{HOST}:{stand.ports.redis}/0")
    wait_told(bridge, "the bridge starts")
    assert "broker-secret" not in bridge.output()


def test_the_bridge_loads_neither_cassandra_nor_tasks() -> None:
    code = (
        "import sys; from bridge.start import build; from reconciliation.settings import load_settings;"
        "from ledger.entries import Ticket; bridge = build(load_settings());"
        "bridge._parts.dispatcher.send([]);"
        "print([name for name in sys.modules if name.split('.')[0] in ('cassandra', 'tasks', 'worker')])"
    )
    told = ended(sys.executable, "-c", code, METRICS_BRIDGE_PORT="0")
    assert told.returncode == 0
    assert told.stdout.strip() == "[]"
