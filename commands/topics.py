"""Reads Kafka's topics from a moment on to where they ended at the start; joins no group and commits nothing."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from bridge.positions import Committed
from bridge.records import to_record
from commands.endings import NotDone, ServerAway
from reconciliation.errors import SettingsError
from reconciliation.kafka_options import connection_options, created
from reconciliation.model import Record
from reconciliation.printing import some_of
from reconciliation.settings import Settings
from reconciliation.settings_sources import environment_variable

#: How long one question to Kafka may take, in seconds; kafka.timeout where that is less.
QUESTION_SECONDS = 10.0

_BATCH = 1000
_POLL_SECONDS = 0.5
#: How many partitions an error names.
_MOST_NAMED = 5
_UNKNOWN = (
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - its public name has the _
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - as above
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)
_END = KafkaError._PARTITION_EOF  # noqa: SLF001 - as above
_FORBIDDEN = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED)


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic, and the setting that names it."""

    name: str
    setting: str

    def described(self) -> str:
        """Name the topic as errors do, with the setting and its variable."""
        return f"{self.setting} ({environment_variable(self.setting)}) is {self.name}"


def input_topic(settings: Settings) -> Topic:
    """Give the topic of the requests."""
    return Topic(settings.kafka_input_topic, "kafka.input.topic")


def failed_topic(settings: Settings) -> Topic:
    """Give the topic of what was given up."""
    return Topic(settings.kafka_output_failed_topic, "kafka.output.failed.topic")


def certificate_topic(settings: Settings) -> Topic:
    """Give the topic of the certificate events."""
    return Topic(settings.kafka_certissue_topic, "kafka.certissue.topic")


def audit_topic(settings: Settings) -> Topic:
    """Give the topic of the audit events."""
    return Topic(settings.kafka_audit_topic, "kafka.audit.topic")


@dataclass(frozen=True, slots=True)
class Span:
    """What is read of a topic: of each partition the first offset, and the one behind the last."""

    topic: Topic
    begin: Mapping[int, int]
    end: Mapping[int, int]

    def __len__(self) -> int:
        return sum(max(0, end - self.begin[partition]) for partition, end in self.end.items())

    def only(self, partition: int) -> "Span":
        """Give the part of it that lies in one partition."""
        return Span(self.topic, {partition: self.begin[partition]}, {partition: self.end[partition]})

    def without(self, partition: int) -> "Span":
        """Give the part of it that lies in the other partitions."""
        begin = {number: offset for number, offset in self.begin.items() if number != partition}
        return Span(self.topic, begin, {number: self.end[number] for number in begin})


class KafkaReader:
    """One connection to Kafka that only reads. For one thread.

    It names the bridge's consumer group, to ask for its commits, and never joins it. Every method raises ServerAway
    when Kafka does not answer in time.
    """

    def __init__(self, settings: Settings) -> None:
        self._servers = settings.kafka_broker_servers
        self._timeout = min(QUESTION_SECONDS, settings.kafka_timeout)
        self._quiet_limit = settings.kafka_timeout
        self._consumer = created(
            Consumer,
            {
                **connection_options(settings),
                "group.id": settings.kafka_group_id,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "isolation.level": "read_committed",
                # a partition whose beginning went meanwhile goes on at what is left
                "auto.offset.reset": "earliest",
                # what a transaction or compaction leaves out at the end never comes: Kafka's word for the end does
                "enable.partition.eof": True,
                "allow.auto.create.topics": False,
                "fetch.wait.max.ms": 100,
                "queued.max.messages.kbytes": 16_384,
                # who reads may take as long as they like with what was read
                "max.poll.interval.ms": 86_400_000,
                "log_level": 0,
                "error_cb": lambda _error: None,
            },
        )

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def span(self, topic: Topic, since_ms: int | None = None) -> Span:
        """Ask what the topic holds now, from its beginning or from a time (ms since 1970) on.

        Raises SettingsError when Kafka has no such topic.
        """
        partitions = self._partitions(topic)
        begin, end = {}, {}
        for partition in partitions:
            begin[partition], end[partition] = self._bounds(topic, partition)
        if since_ms is not None:
            for partition, offset in self._offsets_at(topic, partitions, since_ms).items():
                begin[partition] = end[partition] if offset < 0 else max(begin[partition], offset)
        return Span(topic, begin, end)

    def read(
        self, span: Span, containing: Sequence[bytes] = (), passed: Callable[[int], None] | None = None
    ) -> Iterator[Record]:
        """Give the records of a span, those of one partition in their order; it ends though the topic goes on growing.

        What is no longer there is passed over. Raises NotDone when the topic goes away.

        Args:
            span: what to read; it may be read several times, one after the other.
            containing: only records whose value holds one of these byte strings; all where none is given.
            passed: is told now and then how many records were gone through since it was told last.

        """
        ahead = {partition: span.begin[partition] for partition, end in span.end.items() if span.begin[partition] < end}
        self._consumer.assign([TopicPartition(span.topic.name, *place) for place in ahead.items()])
        deadline = self._deadline()
        try:
            while ahead:
                before = dict(ahead)
                messages = self._take(span.topic)
                for message in messages:
                    if _is_wanted(message, span, ahead, containing):
                        yield to_record(message)
                if passed is not None:
                    passed(len(messages))
                # others that grow must not hide that one gives nothing
                if ahead != before:
                    deadline = self._deadline()
                elif time.monotonic() > deadline:
                    raise ServerAway(
                        f"{span.topic.described()}: Kafka gave nothing for {self._quiet_limit:.0f} s (kafka.timeout) "
                        f"of {_named(ahead)}, not read to the end; is it well?"
                    )
        finally:
            self._consumer.unassign()

    def _deadline(self) -> float:
        return time.monotonic() + self._quiet_limit

    def committed(self, topic: Topic) -> dict[int, Committed]:
        """Ask what the bridge's group has committed of each partition."""
        places = [TopicPartition(topic.name, number) for number in self._partitions(topic)]
        try:
            found = self._consumer.committed(places, timeout=self._timeout)
        except KafkaException as error:
            raise self._away(error.args[0]) from error
        for place in found:
            if place.error is not None:
                raise self._away(place.error)
        return {
            place.partition: Committed(place.offset if place.offset >= 0 else None, place.metadata) for place in found
        }

    def _take(self, topic: Topic) -> list[Message]:
        """Give what comes within a moment, ends of partitions too; often nothing."""
        first = self._consumer.poll(_POLL_SECONDS)
        if first is None:
            return []
        taken = []
        for message in (first, *self._consumer.consume(_BATCH - 1, 0)):
            error = message.error()
            if error is None or error.code() == _END:
                taken.append(message)
            else:
                self._judge(topic, error)
        return taken

    def _judge(self, topic: Topic, error: KafkaError) -> None:
        """Tell of an error that no waiting mends; the time limit takes care of the others."""
        if error.code() in _UNKNOWN:
            raise NotDone(f"{topic.described()}: the topic went away while it was read")
        if error.code() in _FORBIDDEN:
            raise NotDone(f"{topic.described()}: Kafka does not let us read it: {error.str()}")

    def _partitions(self, topic: Topic) -> list[int]:
        try:
            found = self._consumer.list_topics(topic.name, timeout=self._timeout).topics[topic.name]
        except KafkaException as error:
            raise self._away(error.args[0]) from error
        if found.error is not None and found.error.code() in _UNKNOWN:
            raise SettingsError(f"{topic.described()}, but Kafka at {self._servers} has no such topic")
        if found.error is not None:
            raise NotDone(f"{topic.described()}: {found.error.str()}")
        return sorted(found.partitions)

    def _bounds(self, topic: Topic, partition: int) -> tuple[int, int]:
        try:
            bounds = self._consumer.get_watermark_offsets(TopicPartition(topic.name, partition), timeout=self._timeout)
        except KafkaException as error:
            raise self._away(error.args[0]) from error
        if bounds is None:
            raise ServerAway(f"{topic.described()}: Kafka does not tell where partition {partition} ends")
        return bounds

    def _offsets_at(self, topic: Topic, partitions: Sequence[int], since_ms: int) -> dict[int, int]:
        places = [TopicPartition(topic.name, number, since_ms) for number in partitions]
        try:
            found = self._consumer.offsets_for_times(places, timeout=self._timeout)
        except KafkaException as error:
            raise self._away(error.args[0]) from error
        return {place.partition: place.offset for place in found}

    def _away(self, error: KafkaError) -> ServerAway:
        return ServerAway(
            f"Kafka at {self._servers} does not answer: {error.str()}; is it up, and does kafka.broker-servers "
            "(KAFKA_BROKER_SERVERS) name it?"
        )


def _is_wanted(message: Message, span: Span, ahead: dict[int, int], containing: Sequence[bytes]) -> bool:
    """Note how far a partition is read; say whether this is a record that was asked for."""
    partition, offset = message.partition(), message.offset()
    if partition is None or offset is None or partition not in ahead:
        return False
    error = message.error()
    if error is not None:
        if error.code() == _END:
            del ahead[partition]
        return False
    # a smaller offset: the partition was cut back, or made anew, and what comes is not what was asked for
    is_inside = ahead[partition] <= offset < span.end[partition]
    ahead[partition] = offset + 1
    if not is_inside or offset + 1 >= span.end[partition]:
        del ahead[partition]
    if not is_inside or not containing:
        return is_inside
    value = message.value()
    return isinstance(value, bytes) and any(part in value for part in containing)


def _named(partitions: Collection[int]) -> str:
    named = some_of([str(it) for it in sorted(partitions)], _MOST_NAMED)
    return f"partition {named}" if len(partitions) == 1 else f"the partitions {named}"
