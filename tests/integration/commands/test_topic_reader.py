"""The commands' look at Kafka's topics: bounded, and without a trace in any group."""

import time
import uuid
from collections.abc import Iterator
from itertools import islice

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from commands.endings import NotDone, ServerAway
from commands.retention import Retention, has_members, read_retentions
from commands.topics import KafkaReader, Topic
from devstack.ports import Ports, free_port
from devstack.topics import create_topics
from reconciliation.errors import SettingsError
from reconciliation.model import Record
from reconciliation.settings import Settings, load_settings
from tests.support.kafka import Sender, delete_topic
from tests.support.waiting import wait_until

LIMIT_SECONDS = 20.0


@pytest.fixture
def settings(ports: Ports) -> Settings:
    # a group of its own: what is committed in it would show
    return load_settings(
        {
            "ENV": f"test-{uuid.uuid4().hex[:12]}",
            "KAFKA_BROKER_SERVERS": ports.bootstrap,
            "KAFKA_TIMEOUT": "15",
        }
    )


@pytest.fixture
def topic(ports: Ports) -> Topic:
    name = f"reader-{uuid.uuid4().hex[:12]}"
    create_topics(ports.bootstrap, [name])
    return Topic(name, "kafka.input.topic")


@pytest.fixture
def reader(settings: Settings) -> Iterator[KafkaReader]:
    made = KafkaReader(settings)
    yield made
    made.close()


@pytest.fixture
def sender(ports: Ports, topic: Topic) -> Sender:
    return Sender(ports.bootstrap, topic.name)


def numbered(first: int, count: int) -> list[tuple[bytes | None, bytes | None]]:
    return [(str(number).encode(), f"value {number}".encode()) for number in range(first, first + count)]


def values(records: Iterator[Record] | list[Record]) -> list[bytes]:
    return sorted((record.value or b"" for record in records), key=lambda value: int(value.split()[1]))


@pytest.fixture
def admin(ports: Ports) -> AdminClient:
    return AdminClient({"bootstrap.servers": ports.bootstrap, "log_level": 0})


def test_it_reads_what_was_there_at_the_start_and_no_more(reader: KafkaReader, topic: Topic, sender: Sender) -> None:
    sender.send(numbered(0, 3_000))
    span = reader.span(topic)
    assert len(span) == 3_000
    passed: list[int] = []
    records = reader.read(span, passed=passed.append)
    early = list(islice(records, 10))
    sender.send(numbered(3_000, 500))
    read = [*early, *records]
    assert values(read) == [value for _, value in numbered(0, 3_000)]
    assert sum(passed) >= 3_000
    for partition in (0, 1):
        offsets = [record.origin.offset for record in read if record.origin.partition == partition]
        assert offsets == sorted(offsets)
    # the same span again gives the same, and a new one all
    assert len(values(reader.read(span))) == 3_000
    assert len(values(reader.read(reader.span(topic)))) == 3_500


def test_an_empty_topic_ends_at_once(reader: KafkaReader, topic: Topic) -> None:
    assert list(reader.read(reader.span(topic))) == []


def test_it_can_begin_at_a_time(reader: KafkaReader, topic: Topic, sender: Sender) -> None:
    sender.send(numbered(0, 20))
    time.sleep(0.05)
    since_ms = time.time_ns() // 1_000_000
    sender.send(numbered(20, 10))
    assert values(reader.read(reader.span(topic, since_ms))) == [value for _, value in numbered(20, 10)]
    assert len(reader.span(topic, since_ms + 3_600_000)) == 0


def test_it_can_look_for_bytes(reader: KafkaReader, topic: Topic, sender: Sender) -> None:
    sender.send([*numbered(0, 2_000), (None, None)])
    span = reader.span(topic)
    assert values(reader.read(span, (b"value 77", b"value 1234"))) == [
        b"value 77", *[f"value 77{digit}".encode() for digit in range(10)], b"value 1234",
    ]  # fmt: skip
    assert len(span.only(0)) + len(span.without(0)) == len(span)
    assert {record.origin.partition for record in reader.read(span.only(1))} == {1}


def test_no_group_knows_of_it(
    reader: KafkaReader, topic: Topic, sender: Sender, admin: AdminClient, settings: Settings
) -> None:
    sender.send(numbered(0, 10))
    assert len(list(reader.read(reader.span(topic)))) == 10
    groups = admin.list_consumer_groups(request_timeout=LIMIT_SECONDS).result(LIMIT_SECONDS)
    assert settings.kafka_group_id not in [group.group_id for group in groups.valid]
    assert {committed.offset for committed in reader.committed(topic).values()} == {None}
    assert has_members(settings) is False


def test_a_group_with_members_is_seen(settings: Settings, topic: Topic, ports: Ports) -> None:
    member = Consumer({"bootstrap.servers": ports.bootstrap, "group.id": settings.kafka_group_id, "log_level": 0})
    member.subscribe([topic.name])
    try:
        wait_until("it has joined", lambda: (member.poll(0.1), has_members(settings))[1])
    finally:
        member.close()
    wait_until("it has left", lambda: has_members(settings) is False)


def test_what_transactions_leave_out_at_the_end_does_not_hold_it_up(
    reader: KafkaReader, topic: Topic, sender: Sender, ports: Ports
) -> None:
    sender.send(numbered(0, 10))
    producer = Producer({"bootstrap.servers": ports.bootstrap, "transactional.id": uuid.uuid4().hex, "log_level": 0})
    producer.init_transactions(LIMIT_SECONDS)
    for is_kept in (True, False):
        producer.begin_transaction()
        for partition in (0, 1):
            producer.produce(topic.name, f"value {10 + partition}".encode(), partition=partition)
        producer.flush(LIMIT_SECONDS)
        (producer.commit_transaction if is_kept else producer.abort_transaction)(LIMIT_SECONDS)
    span = wait_until("the end is past the markers", lambda: (it := reader.span(topic), len(it) >= 16)[1] and it)
    # it would be told that Kafka gave nothing (KAFKA_TIMEOUT) if the end were waited for
    assert values(reader.read(span)) == [value for _, value in numbered(0, 12)]
    # what follows such a gap is beyond the end
    sender.send(numbered(100, 20))
    assert values(reader.read(span)) == [value for _, value in numbered(0, 12)]


def test_a_partition_whose_beginning_went_goes_on_at_what_is_left(
    reader: KafkaReader, topic: Topic, sender: Sender, admin: AdminClient
) -> None:
    sent = sender.send(numbered(0, 40))
    span = reader.span(topic)
    (answer,) = admin.delete_records([TopicPartition(topic.name, 0, span.end[0] - 1)]).values()
    answer.result(LIMIT_SECONDS)
    read = list(reader.read(span))
    last_of_0 = [record for record in read if record.origin.partition == 0]
    assert [record.origin.offset for record in last_of_0] == [span.end[0] - 1]
    assert len(read) - 1 == sum(place.partition == 1 for place in sent)


def test_a_partition_that_was_emptied_or_made_anew_ends(
    reader: KafkaReader, topic: Topic, sender: Sender, admin: AdminClient
) -> None:
    sender.send(numbered(0, 40))
    span = reader.span(topic)
    ends = [TopicPartition(topic.name, partition, end) for partition, end in span.end.items()]
    for answer in admin.delete_records(ends).values():
        answer.result(LIMIT_SECONDS)
    assert list(reader.read(span)) == []


def test_a_topic_made_anew_meanwhile_ends(
    settings: Settings, topic: Topic, sender: Sender, ports: Ports, admin: AdminClient
) -> None:
    sender.send(numbered(0, 40))
    first = KafkaReader(settings)
    span = first.span(topic)
    first.close()
    delete_topic(ports.bootstrap, topic.name)
    wait_until("its name is free", lambda: topic.name not in admin.list_topics(timeout=LIMIT_SECONDS).topics)
    create_topics(ports.bootstrap, [topic.name])
    Sender(ports.bootstrap, topic.name).send(numbered(100, 5))
    second = KafkaReader(settings)
    try:
        assert len(list(second.read(span))) <= 5
    finally:
        second.close()


def test_a_topic_that_is_not_there_is_named_with_its_setting(reader: KafkaReader) -> None:
    with pytest.raises(SettingsError, match=r"kafka\.input\.topic \(KAFKA_INPUT_TOPIC\) is no\.such\.topic") as error:
        reader.span(Topic("no.such.topic", "kafka.input.topic"))
    assert "\n" not in str(error.value)


def test_a_topic_that_goes_away_while_it_is_read_is_told(
    settings: Settings, reader: KafkaReader, topic: Topic, sender: Sender, ports: Ports, admin: AdminClient
) -> None:
    sender.send(numbered(0, 10))
    span = reader.span(topic)
    delete_topic(ports.bootstrap, topic.name)
    wait_until("it is gone", lambda: topic.name not in admin.list_topics(timeout=LIMIT_SECONDS).topics)
    began = time.monotonic()
    with pytest.raises((NotDone, ServerAway), match="KAFKA_INPUT_TOPIC"):
        list(reader.read(span))
    assert time.monotonic() - began < settings.kafka_timeout + 60


def test_a_partition_that_gives_nothing_is_told_though_others_grow(topic: Topic, ports: Ports) -> None:
    producer = Producer({"bootstrap.servers": ports.bootstrap, "log_level": 0})

    def send(partition: int, count: int) -> None:
        for number in range(count):
            producer.produce(topic.name, f"value {number}".encode(), partition=partition)
        assert producer.flush(LIMIT_SECONDS) == 0

    send(0, 5_000)
    send(1, 10)
    reader = KafkaReader(load_settings({"KAFKA_BROKER_SERVERS": ports.bootstrap, "KAFKA_TIMEOUT": "10"}))
    span = reader.span(topic)
    rounds, began = 0, time.monotonic()

    def grow(_passed: int) -> None:
        nonlocal rounds
        rounds += 1
        assert time.monotonic() < began + 120, "it goes on for ever"
        send(1, 1)

    try:
        records = reader.read(span, passed=grow)
        next(records)
        before = rounds
        # as a partition without a leader: the client has it, and nothing comes
        reader._consumer.pause([TopicPartition(topic.name, 0)])
        with pytest.raises(ServerAway, match=r"nothing for 10 s \(kafka\.timeout\) of partition 0"):
            list(records)
    finally:
        reader.close()
    assert rounds > before + 3


def test_a_kafka_that_is_away_is_told_in_time(topic: Topic) -> None:
    settings = load_settings({"KAFKA_BROKER_SERVERS": f"127.0.0.1:{free_port()}", "KAFKA_TIMEOUT": "1"})
    reader = KafkaReader(settings)
    began = time.monotonic()
    for ask in (lambda: reader.span(topic), lambda: reader.committed(topic)):
        with pytest.raises(ServerAway, match=r"kafka\.broker-servers \(KAFKA_BROKER_SERVERS\)") as error:
            ask()
        assert "\n" not in str(error.value)
    assert has_members(settings) is None
    assert read_retentions(settings, [topic.name])[0].problem
    assert time.monotonic() - began < 15
    reader.close()


def test_a_topic_s_retention_is_told(settings: Settings, topic: Topic) -> None:
    known, unknown = read_retentions(settings, [topic.name, "no.such.topic"])
    assert known == Retention(topic.name, 604_800_000)
    assert unknown.problem
