"""Sends events to Kafka and says of each whether Kafka has it (docs/reconciliation.md, events)."""

import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from reconciliation.errors import EventTooLarge, PublishFailed, ReconciliationError
from reconciliation.kafka_options import Option, created, remedy
from reconciliation.logs import KAFKA_LOGGER
from reconciliation.model import Origin, OutgoingEvent
from reconciliation.reminder import Reminder

log = structlog.get_logger(__name__)

_TOO_LARGE = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE)
_OUT_OF_TIME = (KafkaError._MSG_TIMED_OUT, KafkaError._TIMED_OUT)  # noqa: SLF001 - their public names have the _
_POLL_SECONDS = 0.2
_FULL_QUEUE_PAUSE = 0.01
# librdkafka looks for messages that are out of time about once a second; its own verdict is better than ours.
_GRACE_SECONDS = 2.0


class EventPublisher:
    """Publishes through one producer a process, made at first use; several threads may publish at once.

    `connection` holds librdkafka's options that lead to Kafka (`kafka_options.connection_options`), `timeout` is in
    seconds: how long Kafka may take to confirm an event. `max_bytes` is the largest record, with key,
    headers and the protocol's overhead, that the producer takes. `quiet` keeps Kafka's client from telling on standard
    error of every connection that breaks, where whoever publishes tells people of the outcome.
    """

    def __init__(
        self, connection: Mapping[str, Option], timeout: float, max_bytes: int = 1_000_000, *, quiet: bool = False
    ) -> None:
        self.max_bytes = max_bytes
        self._timeout = timeout
        self._config: dict[str, Option] = {
            "acks": "all",
            "enable.idempotence": True,
            "compression.type": "snappy",
            "delivery.timeout.ms": int(timeout * 1000),
            "linger.ms": 2,
            "message.max.bytes": max_bytes,
            # A broker refuses a batch as a whole. With small batches a large event travels alone, so only its own
            # size is ever refused and nothing else fails with it.
            "batch.size": 32_768,
            "queue.buffering.max.messages": 10_000,
            "queue.buffering.max.kbytes": 65_536,
            # A topic that does not exist is named as such before the delivery timeout, and looked for again soon.
            "topic.metadata.propagation.max.ms": int(timeout * 500),
            "topic.metadata.refresh.interval.ms": 30_000,
            **connection,
            **({"log_level": 0} if quiet else {}),
        }
        self._trouble = _Trouble(is_quiet=quiet)
        self._lock = threading.Lock()
        self._link: _Link | None = None
        self._inherited: list[_Link] = []

    def verify(self) -> None:
        """Raise SettingsError unless librdkafka takes these options together; nobody is connected to."""
        created(Producer, {name: value for name, value in self._config.items() if name != "bootstrap.servers"})

    def publish(self, events: Sequence[OutgoingEvent]) -> list[ReconciliationError | None]:
        """Send all events and wait until Kafka has answered for each, at most the timeout and a little.

        The result is aligned with `events`: None where Kafka confirmed the event, else EventTooLarge or
        PublishFailed, as all are where no producer can be made. An event that was not confirmed may arrive
        nevertheless.
        """
        return [report if isinstance(report, ReconciliationError) else None for report in self.place(events)]

    def place(self, events: Sequence[OutgoingEvent]) -> list[Origin | ReconciliationError]:
        """Do as `publish` does, and say of each event that Kafka confirmed where it lies."""
        deadline = time.monotonic() + self._timeout + _GRACE_SECONDS
        try:
            link = self._current()
        except PublishFailed as error:
            return [self._trouble.added(error) for _ in events]
        reports = _Reports(events)
        for at, event in enumerate(events):
            link.produce(event, reports, at, deadline)
        results = [self._trouble.added(result) for result in reports.wait(deadline)]
        if reports.is_spent:
            link.condition.is_spent = True
        return results

    def probe(self) -> None:
        """Raise PublishFailed unless a broker answers."""
        try:
            self._current().producer.list_topics(timeout=self._timeout)
        except KafkaException as error:
            raise PublishFailed(f"Kafka did not answer: {error.args[0].str()}{self._trouble.told()}") from error

    def close(self, limit: float = 10.0) -> None:
        """Send what still waits, for at most `limit` seconds, and end the producer."""
        with self._lock:
            link, self._link = self._link, None
        if link is not None and link.process == os.getpid():
            unsent = link.producer.flush(limit)
            if unsent:
                log.warning("closed with events that Kafka had not confirmed", unconfirmed=unsent)
            link.give_up()
            link.join()

    def _current(self) -> "_Link":
        """Give the link of this process, made anew where there is none. Raises PublishFailed where none can be made."""
        with self._lock:
            if self._link is not None and self._link.process != os.getpid():
                # A producer's threads don't come through a fork, and destroying it would wait for them: it is kept.
                self._inherited.append(self._link)
                self._link = None
            if self._link is not None and self._link.condition.is_spent:
                log.warning("the Kafka producer gets nothing through, a new one takes its place")
                self._link.give_up()
                self._link = None
            if self._link is None:
                try:
                    self._link = _Link(self._config, self._trouble)
                except KafkaException as error:
                    raise PublishFailed(f"no Kafka producer can be made: {error.args[0].str()}") from error
                except RuntimeError as error:
                    # no thread is left for this process, or for its user (threading.py, Thread.start)
                    raise PublishFailed(f"no Kafka producer can be made: {error}") from error
            return self._link


class _Link:
    """One producer, with the thread that serves its delivery reports to all publishers.

    Nothing that the producer refers to leads back to it: its threads and connections end with the last reference, and
    the collector, which would find a cycle, hardly ever runs here (worker/signals.py).
    """

    def __init__(self, config: dict[str, Option], trouble: "_Trouble") -> None:
        self.process = os.getpid()
        self.condition = _Condition(trouble)
        self.producer = Producer({**config, "error_cb": self.condition.note, "logger": logging.getLogger(KAFKA_LOGGER)})
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="kafka-delivery-reports", daemon=True)
        self._thread.start()

    def produce(self, event: OutgoingEvent, reports: "_Reports", at: int, deadline: float) -> None:
        """Hand one event to the producer; while its queue is full, wait until `deadline`."""

        def report(error: KafkaError | None, message: Message) -> None:
            reports.settle(at, error or _origin(message))

        while True:
            try:
                self.producer.produce(
                    event.topic, event.value, event.key, headers=list(event.headers), on_delivery=report
                )
            except BufferError:
                if time.monotonic() > deadline:
                    return
                time.sleep(_FULL_QUEUE_PAUSE)
                continue
            except KafkaException as error:
                reports.settle(at, error.args[0])
            return

    def give_up(self) -> None:
        """Let the thread end, which tells all who still wait that their events are given up."""
        self._ending.set()

    def join(self) -> None:
        """Wait for the thread's end."""
        self._thread.join(_POLL_SECONDS + _GRACE_SECONDS)

    def _serve(self) -> None:
        while not self._ending.is_set():
            self.producer.poll(_POLL_SECONDS)
        self.producer.purge()
        self.producer.flush(_GRACE_SECONDS)


class _Condition:
    """Whether a producer is still of use.

    `is_spent` when it failed for good, or got an event through not even within the whole time limit. The latter may be
    Kafka's doing, but a producer that was told of no broker at all, as happens for a moment while Kafka comes back from
    a hang or an upgrade, may never find one again (librdkafka, issue 5301).
    """

    def __init__(self, trouble: "_Trouble") -> None:
        self.is_spent = False
        self._trouble = trouble

    def note(self, error: KafkaError) -> None:
        """Take note of what librdkafka tells of the way to Kafka."""
        self.is_spent = self.is_spent or error.fatal()
        self._trouble.note(error)


class _Trouble:
    """What librdkafka last said of the way to Kafka: a refused login it tells here alone, an event only times out."""

    def __init__(self, *, is_quiet: bool) -> None:
        self._is_quiet = is_quiet
        self._reminder = Reminder()
        self._last: str | None = None

    def note(self, error: KafkaError) -> None:
        """Take note, and tell it at growing intervals, unless whoever publishes tells people of the outcome."""
        known = remedy(error)
        # that no broker is left follows from what was told before
        if self._last is None or (known is not None and error.code() != KafkaError._ALL_BROKERS_DOWN):  # noqa: SLF001 - its public name has the _
            self._last = error.str() if known is None else f"{error.str()} (look at {known})"
        if not self._is_quiet and self._reminder.due(error.name(), time.monotonic()):
            settings = {} if known is None else {"settings": known}
            log.warning("Kafka reports a problem, events wait", error=error.str(), code=error.name(), **settings)

    def told(self) -> str:
        """Give the end of a line that tells of a failure."""
        return "" if self._last is None else f"; what was told last: {self._last}"

    def added(self, result: Origin | ReconciliationError) -> Origin | ReconciliationError:
        """Complete what became of an event."""
        if isinstance(result, Origin):
            self._last = None
            self._reminder.reset()
        elif isinstance(result, PublishFailed):
            return PublishFailed(f"{result}{self.told()}")
        return result


class _Reports:
    """What became of the events of one call."""

    def __init__(self, events: Sequence[OutgoingEvent]) -> None:
        self.is_spent = False
        self._events = events
        self._results: dict[int, Origin | ReconciliationError] = {}
        self._changed = threading.Condition()

    def settle(self, at: int, answer: Origin | KafkaError) -> None:
        error = answer if isinstance(answer, KafkaError) else None
        result = answer if isinstance(answer, Origin) else _translated(answer, self._events[at].topic)
        with self._changed:
            self.is_spent = self.is_spent or (error is not None and (error.fatal() or error.code() in _OUT_OF_TIME))
            self._results[at] = result
            self._changed.notify()

    def wait(self, deadline: float) -> list[Origin | ReconciliationError]:
        with self._changed:
            self._changed.wait_for(
                lambda: len(self._results) == len(self._events), max(0.0, deadline - time.monotonic())
            )
            self.is_spent = self.is_spent or len(self._results) < len(self._events)
            return [
                self._results.get(at, PublishFailed(f"Kafka did not confirm an event for topic {event.topic} in time"))
                for at, event in enumerate(self._events)
            ]


def _translated(error: KafkaError, topic: str) -> ReconciliationError:
    if error.code() in _TOO_LARGE:
        return EventTooLarge(f"topic {topic} does not take an event of this size: {error.str()}")
    return PublishFailed(f"Kafka did not confirm an event for topic {topic}: {error.str()}")


def _origin(message: Message) -> Origin:
    _, timestamp_ms = message.timestamp()
    return Origin(message.topic() or "", message.partition() or 0, message.offset() or 0, timestamp_ms)
