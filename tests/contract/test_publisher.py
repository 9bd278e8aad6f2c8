"""Events that the publisher sends, read back from Kafka."""

import gc
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator

import psutil
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from devstack.ports import Ports, free_port
from devstack.stack import Stack
from devstack.topics import create_topics
from reconciliation import publisher as publishing
from reconciliation.errors import EventTooLarge, PublishFailed
from reconciliation.model import Origin, OutgoingEvent
from reconciliation.publisher import EventPublisher
from tests.support.kafka_proxy import KafkaProxy
from tests.support.processes import REPOSITORY
from tests.support.threads import no_thread_starts
from tests.support.waiting import wait_until

MakePublisher = Callable[..., EventPublisher]


@pytest.fixture
def topic(ports: Ports) -> str:
    name = f"contract-{uuid.uuid4().hex[:12]}"
    create_topics(ports.bootstrap, [name])
    return name


@pytest.fixture
def make_publisher(ports: Ports) -> Iterator[MakePublisher]:
    made: list[EventPublisher] = []

    def make(bootstrap: str = ports.bootstrap, timeout: float = 10.0, max_bytes: int = 1_000_000) -> EventPublisher:
        made.append(EventPublisher({"bootstrap.servers": bootstrap}, timeout, max_bytes))
        return made[-1]

    yield make
    for publisher in made:
        publisher.close(1.0)


def consume(ports: Ports, topic: str, count: int) -> list[Message]:
    """Read `count` records of both partitions, and whatever else comes right behind them."""
    consumer = Consumer({"bootstrap.servers": ports.bootstrap, "group.id": "x", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(2)])
    messages: list[Message] = []
    deadline = time.monotonic() + 60
    while len(messages) < count and time.monotonic() < deadline:
        messages += consumer.consume(count - len(messages), 0.2)
    messages += consumer.consume(1, 0.3)
    consumer.close()
    return messages


def event(topic: str, value: bytes = b"{}", key: bytes | None = b"user") -> OutgoingEvent:
    return OutgoingEvent(topic, key, value)


def test_an_event_arrives_with_key_headers_and_value(make_publisher: MakePublisher, ports: Ports, topic: str) -> None:
    value = json.dumps({"eid": "AUDIT", "learner": "पाठ🎓"}).encode()
    headers = (("original-topic", b"a"), ("original-offset", b"7"), ("raw", b"\xff\x00"))

    assert make_publisher().publish([OutgoingEvent(topic, "käy".encode(), value, headers)]) == [None]

    (message,) = consume(ports, topic, 1)
    assert (message.key(), message.value()) == ("käy".encode(), value)
    assert tuple(message.headers() or ()) == headers


def test_an_event_without_key_and_headers_arrives(make_publisher: MakePublisher, ports: Ports, topic: str) -> None:
    assert make_publisher().publish([event(topic, b"x", None)]) == [None]

    (message,) = consume(ports, topic, 1)
    assert (message.key(), message.value(), message.headers()) == (None, b"x", None)


def test_events_are_compressed_with_snappy(make_publisher: MakePublisher, topic: str, stack: Stack) -> None:
    assert make_publisher().publish([event(topic, b"a" * 500_000)]) == [None]

    segments = list(stack.server("kafka").folder.rglob(f"{topic}-*/*.log"))
    written = b"".join(segment.read_bytes() for segment in segments)
    assert 0 < len(written) < 100_000
    # Kafka's record batch, version 2: the attributes are the 16 bits at byte 21, the low three name the compression.
    assert written[22] & 0b111 == 2, "2 is snappy"


def test_nothing_to_publish_needs_no_broker(make_publisher: MakePublisher, closed_port: int) -> None:
    assert make_publisher(f"127.0.0.1:{closed_port}", 0.5).publish([]) == []


def test_threads_publish_through_one_producer(make_publisher: MakePublisher, ports: Ports, topic: str) -> None:
    publisher = make_publisher()
    results: list[object] = []

    def publish(thread: int) -> None:
        for call in range(5):
            results.extend(publisher.publish([event(topic, f"{thread}-{call}-{n}".encode()) for n in range(4)]))

    threads = [threading.Thread(target=publish, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert results == [None] * 160
    assert len({message.value() for message in consume(ports, topic, 160)}) == 160


def test_an_event_too_large_for_the_producer_fails_alone(
    make_publisher: MakePublisher, ports: Ports, topic: str
) -> None:
    publisher = make_publisher(max_bytes=50_000)

    first, large, last = publisher.publish([event(topic), event(topic, os.urandom(60_000)), event(topic)])

    assert publisher.max_bytes == 50_000
    assert (first, last) == (None, None)
    assert isinstance(large, EventTooLarge)
    assert len(consume(ports, topic, 2)) == 2


def test_an_event_too_large_for_its_topic_fails_alone(make_publisher: MakePublisher, ports: Ports) -> None:
    topic = f"contract-{uuid.uuid4().hex[:12]}"
    admin = AdminClient({"bootstrap.servers": ports.bootstrap})
    admin.create_topics([NewTopic(topic, 2, 1, config={"max.message.bytes": "100000"})])[topic].result(60)
    create_topics(ports.bootstrap, [topic])
    small = [event(topic, os.urandom(700)) for _ in range(40)]

    results = make_publisher().publish([*small[:20], event(topic, os.urandom(150_000)), *small[20:]])

    assert isinstance(results.pop(20), EventTooLarge)
    assert results == [None] * 40
    assert len(consume(ports, topic, 40)) == 40


def test_after_a_refusal_the_same_producer_goes_on(make_publisher: MakePublisher, ports: Ports) -> None:
    topic = f"contract-{uuid.uuid4().hex[:12]}"
    admin = AdminClient({"bootstrap.servers": ports.bootstrap})
    admin.create_topics([NewTopic(topic, 2, 1, config={"max.message.bytes": "100000"})])[topic].result(60)
    create_topics(ports.bootstrap, [topic])
    publisher = make_publisher()

    assert isinstance(publisher.publish([event(topic, os.urandom(150_000))])[0], EventTooLarge)
    assert publisher.publish([event(topic)] * 3) == [None] * 3


def test_an_unknown_topic_fails_alone_in_time_and_is_named(make_publisher: MakePublisher, topic: str) -> None:
    begun = time.monotonic()

    unknown, fine = make_publisher(timeout=10.0).publish([event("no.such.topic"), event(topic)])

    assert isinstance(unknown, PublishFailed)
    assert "no.such.topic" in str(unknown)
    assert fine is None
    assert time.monotonic() - begun < 25


def test_without_a_broker_events_are_kept_until_the_time_limit(make_publisher: MakePublisher, closed_port: int) -> None:
    publisher = make_publisher(f"127.0.0.1:{closed_port}", 2.0)
    begun = time.monotonic()

    results = publisher.publish([event("topic"), event("topic")])

    assert [type(result) for result in results] == [PublishFailed, PublishFailed]
    assert 1.9 < time.monotonic() - begun < 15
    with pytest.raises(PublishFailed):
        publisher.probe()


def test_more_events_than_the_queue_holds_all_arrive(make_publisher: MakePublisher, topic: str) -> None:
    assert set(make_publisher(timeout=30.0).publish([event(topic)] * 12_000)) == {None}


def test_a_full_queue_without_a_broker_ends_at_the_time_limit(make_publisher: MakePublisher, closed_port: int) -> None:
    publisher = make_publisher(f"127.0.0.1:{closed_port}", 1.0)
    begun = time.monotonic()

    results = publisher.publish([event("topic")] * 10_500)

    assert {type(result) for result in results} == {PublishFailed}
    # and not at that of each event
    assert time.monotonic() - begun < 30


def test_a_broker_that_hangs_for_a_while_gets_the_event_once(
    make_publisher: MakePublisher, ports: Ports, topic: str, stack: Stack
) -> None:
    publisher = make_publisher(timeout=15.0)
    assert publisher.publish([event(topic, b"before")]) == [None]
    kafka = stack.server("kafka")
    kafka.stop()
    waking = threading.Timer(2.0, kafka.resume)
    waking.start()
    try:
        assert publisher.publish([event(topic, b"meanwhile")]) == [None]
    finally:
        waking.join()
        kafka.resume()

    assert sorted(message.value() or b"" for message in consume(ports, topic, 2)) == [b"before", b"meanwhile"]


def test_a_producer_that_failed_for_good_is_replaced(make_publisher: MakePublisher, ports: Ports, topic: str) -> None:
    publisher = make_publisher()
    assert publisher.publish([event(topic, b"1")]) == [None]
    broken = publisher._link
    assert broken is not None
    broken.condition.note(KafkaError(KafkaError._FATAL, "made up", fatal=True))

    assert publisher.publish([event(topic, b"2")]) == [None]

    assert publisher._link is not broken
    wait_until("its thread has ended", lambda: not broken._thread.is_alive())
    assert len(consume(ports, topic, 2)) == 2


def test_a_producer_that_gets_nothing_through_is_replaced(
    make_publisher: MakePublisher, ports: Ports, topic: str
) -> None:
    with KafkaProxy(ports.kafka) as proxy:
        publisher = make_publisher(proxy.bootstrap, 2.0)
        wait_until("events go through", lambda: publisher.publish([event(topic, b"1")]) == [None])
        used = publisher._link
        proxy.cut()
        (report,) = publisher.publish([event(topic, b"2")])
        assert isinstance(report, PublishFailed)
        proxy.is_cut = False

        wait_until("events go through again", lambda: publisher.publish([event(topic, b"3")]) == [None])
        assert publisher._link is not used
        publisher.close()
    assert {message.value() for message in consume(ports, topic, 2)} >= {b"1", b"3"}


def test_nothing_starts_before_first_use_and_all_ends_with_close(make_publisher: MakePublisher, topic: str) -> None:
    before = set(threading.enumerate())
    publisher = make_publisher()
    # those of an earlier test may still end
    assert set(threading.enumerate()) <= before

    assert publisher.publish([event(topic)]) == [None]
    publisher.close()

    wait_until("its threads have ended", lambda: set(threading.enumerate()) <= before)


def test_a_forked_child_makes_a_producer_of_its_own(ports: Ports, topic: str) -> None:
    command = [sys.executable, "-m", "tests.contract.forking", ports.bootstrap, topic]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)

    assert ended.returncode == 0, ended.stderr
    assert sorted(message.value() or b"" for message in consume(ports, topic, 2)) == [b"child", b"parent"]


def test_the_probe_answers(make_publisher: MakePublisher) -> None:
    make_publisher().probe()


def test_it_says_where_each_event_lies(make_publisher: MakePublisher, ports: Ports, topic: str) -> None:
    events = [event(topic, str(number).encode(), str(number).encode()) for number in range(20)]
    too_large = event(topic, os.urandom(200_000))
    reports = make_publisher(max_bytes=150_000).place([*events, too_large])
    assert isinstance(reports.pop(), EventTooLarge)
    places = {(report.topic, report.partition, report.offset) for report in reports if isinstance(report, Origin)}
    messages = consume(ports, topic, 20)
    assert places == {(message.topic(), message.partition(), message.offset()) for message in messages}
    timestamps = {int(message.value() or b""): message.timestamp()[1] for message in messages}
    assert [report.timestamp_ms for report in reports if isinstance(report, Origin)] == [
        timestamps[number] for number in range(20)
    ]


def test_where_no_thread_starts_every_event_fails_and_the_next_call_makes_a_producer(
    make_publisher: MakePublisher, topic: str
) -> None:
    publisher = make_publisher()
    with no_thread_starts("kafka-delivery-reports") as refused:
        reports = publisher.publish([event(topic), event(topic)])
        with pytest.raises(PublishFailed, match="no Kafka producer can be made"):
            publisher.probe()
    assert [type(report) for report in reports] == [PublishFailed, PublishFailed]
    assert len(refused) == 2

    assert publisher.publish([event(topic)]) == [None]


def test_where_the_client_can_not_be_made_every_event_fails_and_the_next_call_makes_one(
    make_publisher: MakePublisher, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_options: object) -> None:
        raise KafkaException(KafkaError(KafkaError._CRIT_SYS_RESOURCE, "Unable to create thread"))

    publisher = make_publisher()
    with monkeypatch.context() as patch:
        patch.setattr(publishing, "Producer", refuse)
        reports = publisher.publish([event(topic), event(topic)])
    assert [str(report) for report in reports] == ["no Kafka producer can be made: Unable to create thread"] * 2

    assert publisher.publish([event(topic)]) == [None]


def test_a_producer_that_got_nothing_through_leaves_nothing_behind(make_publisher: MakePublisher, topic: str) -> None:
    publisher = make_publisher(f"127.0.0.1:{free_port()},127.0.0.1:{free_port()}", timeout=1.0)
    this = psutil.Process()
    assert isinstance(publisher.publish([event(topic, b"lost")])[0], PublishFailed)
    threads, descriptors = this.num_threads(), this.num_fds()
    gc.collect()
    # a worker's collector hardly ever runs
    gc.disable()
    try:
        for _ in range(4):
            assert isinstance(publisher.publish([event(topic, b"lost")])[0], PublishFailed)
        # those of one that is on its way out may still be there
        wait_until("earlier ones are gone", lambda: this.num_threads() <= threads and this.num_fds() <= descriptors, 30)
    finally:
        gc.enable()
