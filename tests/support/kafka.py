"""Kafka as tests use it: send to the input topic, read everything of the others, ask for the group's offsets."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType

from tests.support.waiting import wait_until

_LIMIT_SECONDS = 20.0

#: librdkafka's options for a Kafka that asks who we are.
Login = Mapping[str, str] | None

#: What a broker says for a moment after its start, and whenever the group's coordinator moves.
_COORDINATOR_COMES = (
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
)


@dataclass(frozen=True, slots=True)
class Sent:
    """Where a record that a test sent lies."""

    partition: int
    offset: int
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Received:
    """One record that the product sent."""

    key: bytes | None
    value: bytes
    headers: dict[str, bytes]

    @property
    def event(self) -> dict[str, Any]:
        """The value as JSON."""
        event: dict[str, Any] = json.loads(self.value)
        return event


class Sender:
    """Sends records to one topic and waits until Kafka has them."""

    def __init__(self, bootstrap: str, topic: str, login: Login = None) -> None:
        self._topic = topic
        own = {"bootstrap.servers": bootstrap, "linger.ms": 5, "acks": "all", "log_level": 0}
        self._producer = Producer({**own, **(login or {})})

    def send(self, records: Iterable[tuple[bytes | None, bytes | None]]) -> list[Sent]:
        """Send (key, value) pairs in their order; gives the place of each."""
        sent: dict[int, Sent] = {}
        problems: list[str] = []
        total = 0
        for number, (key, value) in enumerate(records):

            def delivered(error: object, message: Any, number: int = number) -> None:
                if error is not None:
                    problems.append(str(error))
                else:
                    sent[number] = Sent(message.partition(), message.offset(), message.timestamp()[1])

            self._producer.produce(self._topic, value=value, key=key, on_delivery=delivered)
            self._producer.poll(0)
            total += 1
        self._producer.flush(_LIMIT_SECONDS)
        assert problems == []
        assert len(sent) == total
        return [sent[number] for number in range(total)]


def _admin(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})


def delete_topic(bootstrap: str, topic: str) -> None:
    """Delete a topic; its name may stay taken for a moment."""
    admin = _admin(bootstrap)
    admin.delete_topics([topic], request_timeout=_LIMIT_SECONDS)[topic].result(_LIMIT_SECONDS)


def limit_messages(bootstrap: str, topic: str, most_bytes: int) -> None:
    """Let a topic take no message that is larger."""
    configure_topic(bootstrap, topic, **{"max.message.bytes": str(most_bytes)})


def limit_retention(bootstrap: str, topic: str, keeps_ms: int) -> None:
    """Let a topic keep its records for so long, -1 for ever."""
    configure_topic(bootstrap, topic, **{"retention.ms": str(keeps_ms)})


def configure_topic(bootstrap: str, topic: str, **configuration: str) -> None:
    """Set these names of a topic's configuration to these values."""
    admin = _admin(bootstrap)
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in configuration.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    admin.incremental_alter_configs([resource])[resource].result(_LIMIT_SECONDS)


def all_topics(bootstrap: str) -> set[str]:
    """List every topic that there is."""
    return set(_admin(bootstrap).list_topics(timeout=_LIMIT_SECONDS).topics)


def _asking(bootstrap: str, group_id: str, login: Login = None) -> Consumer:
    """Make a consumer that only asks, and joins no group.

    An admin client's questions to a group's coordinator may end the whole process with a failed assertion while a
    broker goes away or comes back (librdkafka, issues 3663 and 4605).
    """
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group_id,
            "enable.auto.commit": False,
            "log_level": 0,
            "allow.auto.create.topics": False,
            **(login or {}),
        }
    )


class TopicEnds:
    """Says where the partitions of a topic end.

    Asked over a connection of its own: on a consumer's that reads, the question would wait behind a fetch that waits
    for records.
    """

    def __init__(self, consumer: Consumer, topic: str) -> None:
        self._topic = topic
        self._consumer = consumer
        self._partitions: list[int] = []

    def partitions(self) -> list[int]:
        """List the topic's partitions."""
        if not self._partitions:
            found = self._consumer.list_topics(self._topic, timeout=_LIMIT_SECONDS).topics[self._topic].partitions
            self._partitions = sorted(found)
        return self._partitions

    def now(self) -> dict[int, int]:
        """For each partition the offset that its next record will get."""
        return {number: self._end(number) for number in self.partitions()}

    def _end(self, partition: int) -> int:
        place = TopicPartition(self._topic, partition)
        bounds = self._consumer.get_watermark_offsets(place, timeout=_LIMIT_SECONDS, cached=False)
        if bounds is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return bounds[1]


class TopicReader:
    """Reads a topic from its beginning; `records` gives everything that lies there now."""

    def __init__(self, bootstrap: str, topic: str, login: Login = None) -> None:
        self._topic = topic
        self._read: list[Received] = []
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": f"reader-of-{topic}",
                "enable.auto.commit": False,
                "log_level": 0,
                "allow.auto.create.topics": False,
                **(login or {}),
            }
        )
        self._ends = TopicEnds(_asking(bootstrap, f"reader-of-{topic}", login), topic)
        self._next: dict[int, int] = {}

    def records(self) -> list[Received]:
        """Return all records, those of one partition in their order."""
        ends = self._ends.now()
        if not self._next:
            self._next = dict.fromkeys(ends, 0)
            self._consumer.assign([TopicPartition(self._topic, number, 0) for number in ends])
        while any(self._next[number] < end for number, end in ends.items()):
            message = self._consumer.poll(_LIMIT_SECONDS)
            assert message is not None, f"{self._topic}: no record within {_LIMIT_SECONDS:.0f} s; {self._next}, {ends}"
            assert message.error() is None, f"{self._topic}: {message.error()}"
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            self._next[partition] = offset + 1
            headers: Any = message.headers() or []  # the library's types know only one of the forms it returns
            key, value = message.key(), message.value()
            assert isinstance(key, bytes | None)
            assert isinstance(value, bytes)
            self._read.append(Received(key, value, dict(headers)))
        return list(self._read)

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()


class GroupOffsets:
    """What a consumer group has committed, beside where its topic ends."""

    def __init__(self, bootstrap: str, topic: str, group_id: str, login: Login = None) -> None:
        self._topic = topic
        self._consumer = _asking(bootstrap, group_id, login)
        self._ends = TopicEnds(self._consumer, topic)

    def behind(self) -> dict[int, int]:
        """For each partition that is not wholly committed, how many records are missing."""
        committed = self.committed()
        lags = {number: end - committed.get(number, 0) for number, end in self._ends.now().items()}
        return {number: lag for number, lag in lags.items() if lag > 0}

    def committed(self) -> dict[int, int]:
        """For each partition the committed offset, where there is one."""
        return {place.partition: place.offset for place in self._places()}

    def marks(self) -> dict[int, dict[str, Any]]:
        """For each partition that has a commit the metadata of it, which the bridge writes as JSON."""
        return {place.partition: json.loads(place.metadata or "{}") for place in self._places()}

    def _places(self) -> list[TopicPartition]:
        places = wait_until("the group's coordinator", self._ask)
        assert places is not None
        return [place for place in places if place.offset >= 0]

    def _ask(self) -> list[TopicPartition] | None:
        asked = [TopicPartition(self._topic, number) for number in self._ends.partitions()]
        try:
            return self._consumer.committed(asked, timeout=_LIMIT_SECONDS)
        except KafkaException as error:
            if error.args[0].code() in _COORDINATOR_COMES:
                return None
            raise
