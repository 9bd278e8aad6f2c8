"""Kafka that hangs, moves its coordinator, hides its brokers or makes a topic anew: the bridge reads on by itself."""

import json

from confluent_kafka.admin import AdminClient

from devstack.errors import DevstackError
from devstack.stack import Stack
from devstack.topics import create_topics, topic_names
from tests.integration.bridge.conftest import MakeStand
from tests.integration.bridge.harness import BridgeStand, learners, open_ids, settle, wait_told
from tests.support.events import encoded, sync_event
from tests.support.installation import unique
from tests.support.kafka import Sender, delete_topic
from tests.support.kafka_proxy import KafkaProxy
from tests.support.waiting import wait_until


def test_kafka_that_hangs_is_waited_for(stack: Stack, stand: BridgeStand) -> None:
    bridge = stand.bridge()
    wait_told(bridge, "partitions assigned")
    server = stack.server("kafka")
    server.stop()
    try:
        # its session is over then, and so is the time after which Kafka takes its own broker for dead
        wait_told(bridge, "partitions lost")
        assert bridge.is_running
    finally:
        server.resume()
    wait_until("Kafka takes records again", lambda: is_sent(stand), 90)
    stand.wait_committed(60)
    # a producer that repeats itself sends a learner's request twice, which collapses: offsets are counted, not entries
    assert stand.open_count() == sum(offset for offset, _ in stand.commits().values()) >= 5
    bridge.end()


def is_sent(stand: BridgeStand) -> bool:
    """Send five learners' requests; a producer that saw Kafka without brokers may fail, though some of them arrive."""
    try:
        Sender(stand.ports.bootstrap, stand.input_topic).send(
            (None, encoded(sync_event(learner))) for learner in learners(5)
        )
    except AssertionError:
        return False
    return True


def test_a_coordinator_that_moves_while_partitions_are_assigned(stand: BridgeStand) -> None:
    # librdkafka leaves a partition unstarted for ever whose commit it asked for itself and did not get
    sent = stand.send(*learners(20))
    with KafkaProxy(stand.ports.kafka, refusals=3) as proxy:
        bridge = stand.bridge(KAFKA_BROKER_SERVERS=proxy.bootstrap)
        stand.wait_committed()
        assert open_ids(stand, sent)
        assert proxy.refused == 3
        bridge.end()


def test_a_kafka_that_shows_no_brokers_for_a_moment_is_found_again(stand: BridgeStand) -> None:
    # librdkafka forgets the brokers it knew and looks for no others (its issue 5301)
    with KafkaProxy(stand.ports.kafka) as proxy:
        bridge = stand.bridge(KAFKA_BROKER_SERVERS=proxy.bootstrap)
        sent = stand.send(*learners(2))
        stand.wait_committed()
        proxy.hides_brokers = True
        wait_until("the bridge was told of no brokers", lambda: proxy.hidden > 0)
        proxy.hides_brokers = False
        sent += stand.send(*learners(20))
        stand.wait_committed(120)
        assert open_ids(stand, sent)
        bridge.end()


def test_a_consumer_that_is_silent_for_long_is_replaced(stand: BridgeStand) -> None:
    with KafkaProxy(stand.ports.kafka) as proxy:
        bridge = stand.bridge(KAFKA_BROKER_SERVERS=proxy.bootstrap)
        sent = stand.send(*learners(5))
        stand.wait_committed()
        proxy.cut()
        sent += stand.send(*learners(20))
        wait_until("the connection is made anew", lambda: "made anew" in bridge.output(), 120)
        proxy.is_cut = False
        stand.wait_committed(60)
        assert open_ids(stand, sent)
        assert len(stand.entries()) == 25
        bridge.end()


def test_a_topic_that_is_made_anew_is_read_from_its_first_record(make_stand: MakeStand) -> None:
    environment = unique("test")
    stand = make_stand(environment)
    create_topics(stand.ports.bootstrap, topic_names(environment), partitions=1)
    bridge = stand.bridge()
    settled = stand.send(*learners(10))
    stand.wait_committed()
    settle(stand, [stand.entry_id(place) for place in settled])

    delete_topic(stand.ports.bootstrap, stand.input_topic)
    wait_until("the topic is gone", lambda: is_gone(stand))
    wait_until("the topic is there again", lambda: is_made(stand))
    sent = stand.send(*learners(3))
    assert [place.offset for place in sent] == [0, 1, 2]
    wait_until("the new records are accepted", lambda: open_ids(stand, sent))
    stand.wait_committed()
    bridge.end()


def test_requests_of_a_topic_that_was_deleted_end_before_what_has_their_offsets(make_stand: MakeStand) -> None:
    environment = unique("test")
    stand = make_stand(environment)
    create_topics(stand.ports.bootstrap, topic_names(environment), partitions=1)
    bridge = stand.bridge()
    before = stand.send(*learners(5))
    stand.wait_committed()

    delete_topic(stand.ports.bootstrap, stand.input_topic)
    wait_until("the topic is gone", lambda: is_gone(stand))
    wait_until("the topic is there again", lambda: is_made(stand))
    others = learners(3)
    sent = stand.send(*others)
    wait_told(bridge, "another request is open under a record's offset")
    assert open_ids(stand, before)
    settle(stand, [stand.entry_id(place) for place in before])
    stand.wait_committed()
    assert open_ids(stand, sent)
    assert {json.loads(entry["enrolment"])[0] for entry in stand.entries().values()} == {it.user for it in others}
    bridge.end()


def is_gone(stand: BridgeStand) -> bool:
    """Say whether the broker too has heard that the topic was deleted: until then it takes records into the old one."""
    client = AdminClient({"bootstrap.servers": stand.ports.bootstrap, "log_level": 0})
    return stand.input_topic not in client.list_topics(timeout=10).topics


def is_made(stand: BridgeStand) -> bool:
    try:
        create_topics(stand.ports.bootstrap, [stand.input_topic], partitions=1)
    except DevstackError:
        # its name is not free yet
        return False
    return True
