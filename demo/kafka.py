"""Kafka as the demonstration uses it: send requests, see how many are settled, read what the product sent."""

import contextlib
import json
import time
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from demo.errors import DemoError
from demo.requests import Request
from demo.run import Run
from ledger.config import ledger_config
from ledger.ledger import Ledger
from reconciliation.settings import Settings

_LIMIT_SECONDS = 15.0
_ADVICE = "See `.venv/bin/python -m devstack status`."


@dataclass(frozen=True, slots=True)
class Event:
    """One record that the product sent, as it lies on its topic."""

    topic: str
    partition: int
    offset: int
    key: str
    value: dict[str, Any]


class Traffic:
    """What goes in and comes out on Kafka in one run."""

    def __init__(self, run: Run, settings: Settings) -> None:
        self._input = settings.kafka_input_topic
        self.certificate_topic = settings.kafka_certissue_topic
        self.audit_topic = settings.kafka_audit_topic
        self.failed_topic = settings.kafka_output_failed_topic
        servers = {"bootstrap.servers": run.ports.bootstrap, "log_level": 0}
        self._producer = Producer({**servers, "acks": "all"})
        reading = {**servers, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
        # empty topics would otherwise hold back what else is asked on the same connection
        self._consumer = Consumer({**reading, "group.id": f"{run.environment}-demonstration", "fetch.wait.max.ms": 50})
        # in the product's group but never subscribed: it takes no partition and only asks for the group's offsets
        self._group = Consumer({**reading, "group.id": settings.kafka_group_id})
        self._ledger = Ledger(ledger_config(settings))
        self._outputs = self._partitions(self.certificate_topic, self.audit_topic, self.failed_topic)
        self._inputs = self._partitions(self._input)
        self._consumer.assign(self._outputs)
        self._problems: list[str] = []

    def send(self, request: Request) -> None:
        """Send one request, keyed by its user. Raises DemoError when Kafka refused an earlier one."""
        value = json.dumps(request.event(time.time_ns() // 1_000_000)).encode()
        self._producer.produce(self._input, key=request.user_id.encode(), value=value, on_delivery=self._delivered)
        self._producer.poll(0)
        if self._problems:
            raise DemoError(f"Kafka did not take a request: {self._problems[0]}.", _ADVICE)

    def flush(self) -> None:
        """Wait until Kafka has every request. Raises DemoError when it does not take them all."""
        if self._producer.flush(_LIMIT_SECONDS) or self._problems:
            raise DemoError(f"Kafka did not take all requests: {self._problems[:1] or 'no answer'}.", _ADVICE)

    def settled(self) -> int:
        """Count the requests that owe nothing any more: offsets committed by the bridge, less those still open."""
        # in this order: what is committed was in the ledger before, so an empty ledger then means settled
        committed = sum(max(it.offset, 0) for it in self._group.committed(self._inputs, timeout=_LIMIT_SECONDS))
        return max(committed - self._ledger.open_count(), 0)

    def new_events(self, wait: float) -> list[Event]:
        """Give what arrived on the three output topics since the last call, waiting `wait` seconds at most."""
        return [_event(message) for message in self._consumer.consume(100, timeout=wait) if message.error() is None]

    def remaining_events(self) -> list[Event]:
        """Read on until the end of the three topics as it is now."""
        ends = {
            (it.topic, it.partition): self._group.get_watermark_offsets(it, timeout=_LIMIT_SECONDS, cached=False)[1]
            for it in self._outputs
        }
        events: list[Event] = []
        deadline = time.monotonic() + _LIMIT_SECONDS
        while any(max(it.offset, 0) < ends[it.topic, it.partition] for it in self._consumer.position(self._outputs)):
            if time.monotonic() > deadline:
                raise DemoError("Kafka did not give all events that lie on its topics.", _ADVICE)
            events += self.new_events(wait=0.1)
        return events

    def close(self) -> None:
        """Close all connections."""
        self._consumer.close()
        self._group.close()
        self._ledger.close()

    def _partitions(self, *topics: str) -> list[TopicPartition]:
        return [
            TopicPartition(topic, number, 0)
            for topic in topics
            for number in self._consumer.list_topics(topic, timeout=_LIMIT_SECONDS).topics[topic].partitions
        ]

    def _delivered(self, error: object, _message: Message) -> None:
        if error is not None:
            self._problems.append(str(error))


def remove_topics(run: Run, group_id: str) -> None:
    """Remove a run's topics and its consumer groups; what is gone already, or still busy, is let be."""
    client = AdminClient({"bootstrap.servers": run.ports.bootstrap, "log_level": 0})
    # a group that was never made, or whose member was killed just now, can't be removed; Kafka forgets it in time
    futures = [
        *client.delete_topics(list(run.topics), request_timeout=_LIMIT_SECONDS).values(),
        *client.delete_consumer_groups([group_id], request_timeout=_LIMIT_SECONDS).values(),
    ]
    for future in futures:
        with contextlib.suppress(KafkaException):
            future.result(_LIMIT_SECONDS)


def _event(message: Message) -> Event:
    key, value = message.key() or b"", message.value() or b""
    return Event(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        key=key.decode() if isinstance(key, bytes) else key,
        value=json.loads(value),
    )
