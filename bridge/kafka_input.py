"""The input topic: a Kafka consumer that commits only what it is told to, and never throws away what it is not told to.

All calls come from one thread, and the rebalance callbacks run within `take` and `close` (confluent_kafka serves them
from poll, consume and close). So between two calls nobody takes a partition from us.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from bridge.consumer_config import consumer_config
from bridge.pacing import Patience
from bridge.positions import Bounds, Commit, Committed
from bridge.records import to_record
from reconciliation.kafka_options import Option, created, remedy
from reconciliation.model import Record
from reconciliation.reminder import Reminder

log = structlog.get_logger(__name__)

_NO_TOPIC = (KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART)  # noqa: SLF001 - its public name has the _

#: Called when partitions leave us: which, and whether they are lost (another bridge may own them already).
OnLeave = Callable[[list[int], bool], None]


class KafkaUnavailable(Exception):
    """Raised when Kafka did not tell or take an offset; the call may be repeated."""


class KafkaInput:
    """The partitions of the input topic that this bridge was given.

    A partition that was just assigned rests until `begin` is called for it. Nothing is connected before the first
    `take`. Raises SettingsError where librdkafka refuses the options.

    Args:
        connection: librdkafka's options that lead to Kafka (`reconciliation.kafka_options`).
        topic: the input topic.
        group_id: the consumer group.
        timeout: how many seconds a question to Kafka may take.
        on_leave: told before a revoked partition is given up, and after one was lost.

    """

    def __init__(
        self, connection: Mapping[str, Option], topic: str, group_id: str, timeout: float, on_leave: OnLeave
    ) -> None:
        self.topic = topic
        self._timeout = timeout
        self._on_leave = on_leave
        self._reminder = Reminder()
        self._commit_reminder = Reminder()
        self._resting: set[int] = set()
        # the next offset to read of each partition that is begun
        self._next: dict[int, int] = {}
        self._held = False
        self._patience = Patience()
        self._config = consumer_config(connection, group_id, self._report)
        self._consumer = self._connect()

    def take(self, most: int, wait: float) -> list[Record]:
        """Wait up to `wait` seconds for a first record, then give what has arrived, at most `most` records.

        While held, the same wait keeps the bridge in its group, and gives nothing.
        """
        first = self._consumer.poll(wait)
        messages = [] if first is None else [first]
        if first is not None and first.error() is None and most > 1 and not self._held:
            messages += self._consumer.consume(most - 1, 0)
        records = []
        for message in messages:
            error = message.error()
            if error is not None:
                self._report(error)
                continue
            record = to_record(message)
            partition = record.origin.partition
            # a record may slip through before a pause takes hold: it is read again, since every start seeks
            if self._held or partition not in self._next:
                continue
            if record.origin.offset < self._next[partition]:
                self._begin_anew(partition)
                continue
            self._next[partition] = record.origin.offset + 1
            records.append(record)
        if records:
            self._reminder.reset()
        self._look_after(is_alive=any(message.error() is None for message in messages))
        # a partition that is to begin anew meanwhile reads them again
        return [record for record in records if record.origin.partition in self._next]

    def _connect(self) -> Consumer:
        consumer = created(Consumer, self._config)
        consumer.subscribe(
            [self.topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost_partitions
        )
        return consumer

    def _look_after(self, *, is_alive: bool) -> None:
        """Replace a consumer that has lost touch with Kafka for good.

        One that was told of no broker at all, as happens for a moment while Kafka comes back from a hang or an
        upgrade, forgets those it knew and never finds them again (librdkafka, issue 5301).
        """
        now = time.monotonic()
        if is_alive:
            self._patience.answered(now)
        if not self._patience.is_due(now):
            return
        try:
            self._consumer.list_topics(self.topic, timeout=self._timeout)
        except KafkaException as error:
            if self._patience.is_over(time.monotonic()):
                log.warning("Kafka does not answer for long: the connection is made anew", error=error.args[0].str())
                # no goodbye, which could wait for ever: Kafka takes the old one for a bridge that was killed
                self._give_up([*self._next, *self._resting], lost=True)
                self._consumer = self._connect()
        else:
            self._patience.answered(time.monotonic())

    @property
    def heard_at(self) -> float | None:
        """When Kafka was last heard of, by the clock that never goes back; None before."""
        return self._patience.heard_at

    def resting(self) -> list[int]:
        """List the partitions that are ours and not begun."""
        return sorted(self._resting)

    def committed(self, partitions: Sequence[int]) -> dict[int, Committed]:
        """Ask for the group's commits. Raises KafkaUnavailable."""
        try:
            found = self._consumer.committed([self._place(number) for number in partitions], timeout=self._timeout)
        except KafkaException as error:
            raise KafkaUnavailable(f"the committed offsets are not told: {error.args[0].str()}") from error
        for place in found:
            if place.error is not None:
                raise KafkaUnavailable(f"the committed offset is not told: {place.error.str()}")
        self._patience.answered(time.monotonic())
        return {
            place.partition: Committed(place.offset if place.offset >= 0 else None, place.metadata) for place in found
        }

    def bounds(self, partition: int) -> Bounds:
        """Ask for a partition's first offset, and for the one that its next record will get. Raises KafkaUnavailable.

        Partitions begin at offsets that were asked for here, never at librdkafka's word for the beginning: an answer
        about that word that comes late throws a partition back which reads on elsewhere by then
        (src/rdkafka_partition.c, rd_kafka_toppar_handle_Offset and rd_kafka_toppar_offset_retry).
        """
        try:
            first, end = self._consumer.get_watermark_offsets(self._place(partition), timeout=self._timeout)
        except KafkaException as error:
            raise KafkaUnavailable(f"the ends of partition {partition} are not told: {error.args[0].str()}") from error
        return Bounds(first, end)

    def offset_at(self, partition: int, since_ms: int) -> int | None:
        """Ask for the first offset whose record is not older than a time (ms since 1970); None where all are.

        Raises KafkaUnavailable.
        """
        try:
            (place,) = self._consumer.offsets_for_times([self._place(partition, since_ms)], timeout=self._timeout)
        except KafkaException as error:
            raise KafkaUnavailable(f"the offset of a time is not told: {error.args[0].str()}") from error
        if place.error is not None:
            raise KafkaUnavailable(f"the offset of a time is not told: {place.error.str()}")
        return place.offset if place.offset >= 0 else None

    def begin(self, partition: int, offset: int) -> None:
        """Read a resting partition from this offset on. Raises KafkaUnavailable."""
        self._go_to(partition, offset)
        self._resting.discard(partition)
        self._next[partition] = offset

    def rest(self) -> None:
        """Let all partitions rest: what was read of them is to be read again from wherever `begin` says."""
        self._resting.update(self._next)
        self._next.clear()
        self._pause(self._resting)

    def hold(self) -> None:
        """Take nothing until `release`, and stay in the group."""
        self._held = True
        self._pause(self._next)

    def release(self) -> None:
        """Go on where we were. Raises KafkaUnavailable."""
        if self._held:
            for partition, offset in self._next.items():
                self._go_to(partition, offset)
            self._held = False

    def commit(self, commits: Sequence[Commit]) -> list[Commit]:
        """Commit offsets with their marks; gives those that Kafka confirmed. A failure is told, not raised."""
        # the metadata comes along with store_offsets as with commit (tests/integration/bridge)
        forward = [commit for commit in commits if not commit.by_name]
        named = [commit for commit in commits if commit.by_name]
        confirmed: list[Commit] = []
        try:
            if forward:
                # store_offsets refuses a partition that is not ours, which an explicit commit would not
                self._consumer.store_offsets(offsets=self._places(forward))
                confirmed += _confirmed(forward, self._consumer.commit(asynchronous=False))
            if named:
                # what is stored is committed only beyond the last commit that the client knows of
                confirmed += _confirmed(named, self._consumer.commit(offsets=self._places(named), asynchronous=False))
        except KafkaException as error:
            if self._commit_reminder.due("commit", time.monotonic()):
                log.warning("a commit failed, the next one makes up for it", error=error.args[0].str())
        else:
            self._commit_reminder.reset()
        return confirmed

    def lag(self) -> int:
        """Count the records of our partitions that are not taken yet, as far as the last fetch told."""
        behind = 0
        for partition, offset in self._next.items():
            low, high = self._consumer.get_watermark_offsets(self._place(partition), cached=True)
            behind += max(0, high - max(offset, low))
        return behind

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def _begin_anew(self, partition: int) -> None:
        # the topic was deleted and made again, or cut back when a broker without its last records took over
        log.warning("a partition jumped back and is begun anew", partition=partition, expected=self._next[partition])
        self._give_up([partition], lost=True)
        self._resting.add(partition)
        self._pause([partition])

    def _go_to(self, partition: int, offset: int) -> None:
        place = self._place(partition, offset)
        try:
            # in this order and always with a seek: what a pause remembers is not where we want to go on
            self._consumer.resume([place])
            self._consumer.seek(place)
        except KafkaException as error:
            self._pause([partition])
            raise KafkaUnavailable(f"partition {partition} can't be read yet: {error.args[0].str()}") from error

    def _pause(self, partitions: Collection[int]) -> None:
        places = [self._place(number) for number in partitions]
        if places:
            self._consumer.pause(places)

    def _place(self, partition: int, offset: int | None = None) -> TopicPartition:
        if offset is None:
            return TopicPartition(self.topic, partition)
        return TopicPartition(self.topic, partition, offset)

    def _places(self, commits: Sequence[Commit]) -> list[TopicPartition]:
        return [TopicPartition(self.topic, it.partition, it.offset, it.mark.encode()) for it in commits]

    def _on_assign(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        numbers = [place.partition for place in places]
        # Any offset will do, since every start seeks. Without one librdkafka asks for the group's commit by itself, and
        # a partition whose question is refused as a whole ("not coordinator") is never started, and can't be sought in
        # (src/rdkafka_assignment.c, rd_kafka_assignment_apply_offsets: nothing is done for request-level errors).
        consumer.incremental_assign([self._place(number, 0) for number in numbers])
        # paused at once: where to begin is asked for when the ledger answers
        self._pause(numbers)
        self._resting.update(numbers)
        log.info("partitions assigned", partitions=numbers)

    def _on_revoke(self, _consumer: Consumer, places: list[TopicPartition]) -> None:
        self._leave([place.partition for place in places], lost=False)

    def _on_lost_partitions(self, _consumer: Consumer, places: list[TopicPartition]) -> None:
        self._leave([place.partition for place in places], lost=True)

    def _leave(self, numbers: list[int], *, lost: bool) -> None:
        log.info("partitions lost" if lost else "partitions revoked", partitions=numbers)
        self._give_up(numbers, lost=lost)

    def _give_up(self, numbers: list[int], *, lost: bool) -> None:
        self._on_leave(numbers, lost)
        for number in numbers:
            self._resting.discard(number)
            self._next.pop(number, None)

    def _report(self, error: KafkaError) -> None:
        if error.fatal():
            raise KafkaException(error)
        what = error.name()
        if not self._reminder.due(what, time.monotonic()):
            return
        if error.code() in _NO_TOPIC:
            log.error(
                "the input topic does not exist, the bridge waits for it",
                topic=self.topic,
                remedy=f"kafka-topics.sh --create --topic {self.topic}, or set kafka.input.topic (KAFKA_INPUT_TOPIC)",
            )
        else:
            known = remedy(error)
            settings = {} if known is None else {"settings": known}
            log.warning(
                "Kafka reports a problem, the bridge waits and tries again", error=error.str(), code=what, **settings
            )


def _confirmed(commits: Sequence[Commit], answer: list[TopicPartition] | None) -> list[Commit]:
    offsets: Mapping[int, int] = {place.partition: place.offset for place in answer or [] if place.error is None}
    return [commit for commit in commits if offsets.get(commit.partition) == commit.offset]
