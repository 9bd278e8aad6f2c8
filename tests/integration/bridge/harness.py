"""A bridge alone: its topics, its ledger and the broker's queue, looked at from outside; no worker runs."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from confluent_kafka import Consumer, KafkaException, TopicPartition

from devstack.ports import HOST, Ports, free_port
from devstack.topics import topic_names
from reconciliation.model import Origin
from reconciliation.requests import request_id
from tests.support.events import encoded, sync_event
from tests.support.installation import unique
from tests.support.kafka import Sender, Sent, TopicReader
from tests.support.processes import BRIDGE, Process
from tests.support.tables import Learner
from tests.support.waiting import USUAL_LIMIT, wait_until

_LIMIT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Message:
    """One message on the broker's queue: its id, its tickets as (entry id, generation), and all its bytes."""

    task_id: str
    task: str
    tickets: list[tuple[str, int]]
    raw: bytes


def learners(count: int) -> list[Learner]:
    """Make learners whom no other test knows."""
    prefix = unique("learner")
    return [Learner(f"{prefix}-{number}", "do_course", "batch-1") for number in range(count)]


class BridgeStand:
    """One environment with any number of bridges."""

    def __init__(self, ports: Ports, environment: str, logs: Path, settings: Mapping[str, str]) -> None:
        self.ports = ports
        self.environment = environment
        self.group_id = f"{environment}-enrolment-reconciliation-group"
        self.input_topic, self.failed_topic, _, _ = topic_names(environment)
        self.metrics_port = free_port()
        self.settings = {
            "ENV": environment,
            "KAFKA_BROKER_SERVERS": ports.bootstrap,
            "CELERY_BROKER_URL": ports.redis_url(0),
            "REDIS_TIMEOUT": "20",
            "LEDGER_SWEEP_AFTER": "600",
            "METRICS_BRIDGE_PORT": "0",
            **settings,
        }
        # the client's types allow for decoded answers, which we don't ask for
        self.redis: Any = redis.Redis(host=HOST, port=ports.redis, db=0, socket_timeout=10)
        self.failed = TopicReader(ports.bootstrap, self.failed_topic)
        self._observer = self._observe()
        self._sender: Sender | None = None
        self._logs = logs
        self._bridges: list[Process] = []

    def bridge(self, command: Sequence[str] = BRIDGE, **settings: str) -> Process:
        """Start a bridge."""
        number = len(self._bridges)
        log = self._logs / f"{self.environment}-bridge-{number}.log"
        process = Process(f"bridge {number}", command, {**self.settings, **settings}, log)
        self._bridges.append(process)
        process.start()
        return process

    def close(self) -> None:
        """End everything."""
        for process in self._bridges:
            process.kill()
        self.failed.close()
        self._observer.close()
        self.redis.close()

    def send(self, *who: Learner) -> list[Sent]:
        """Send a request for each."""
        return self.send_values(*(encoded(sync_event(learner)) for learner in who))

    def send_values(self, *values: bytes | None, key: bytes | None = None) -> list[Sent]:
        """Send records with these values."""
        if self._sender is None:
            self._sender = Sender(self.ports.bootstrap, self.input_topic)
        return self._sender.send((key, value) for value in values)

    def wait_committed(self, limit: float = USUAL_LIMIT) -> None:
        """Wait until the whole input topic is committed."""
        wait_until("all is committed", self._is_committed, limit)

    def commits(self) -> dict[int, tuple[int, Any]]:
        """What the group has committed: partition to offset and metadata."""
        return {
            place.partition: (place.offset, json.loads(place.metadata or "null"))
            for place in self._observer.committed(self._places(), timeout=_LIMIT_SECONDS)
            if place.offset >= 0
        }

    def commit_by_hand(self, partition: int, offset: int, metadata: str) -> None:
        """Commit as an operator's tool does, while no bridge runs."""
        place = TopicPartition(self.input_topic, partition, offset, metadata)
        self._observer.commit(offsets=[place], asynchronous=False)

    def entry_id(self, sent: Sent) -> str:
        """The id that the request at this place has."""
        return request_id(Origin(self.input_topic, sent.partition, sent.offset, sent.timestamp_ms))

    def entries(self) -> dict[str, dict[str, str]]:
        """All entries of the ledger: id to fields."""
        start = self.ledger_prefix + "entry:"
        return {
            key.decode().removeprefix(start): {
                name.decode(): value.decode() for name, value in self.redis.hgetall(key).items()
            }
            for key in self.redis.scan_iter(start + "*", count=1000)
        }

    def open_count(self) -> int:
        """How many offsets are open."""
        return int(self.redis.get(self.ledger_prefix + "count") or 0)

    def messages(self) -> list[Message]:
        """Everything on the broker's queue, oldest first."""
        raws = self.redis.lrange(f"{self.group_id}:celery:{self.group_id}", 0, -1)
        found = []
        for raw in reversed(raws):
            envelope = json.loads(raw)
            _, keywords, _ = json.loads(base64.b64decode(envelope["body"]))
            tickets = [(entry_id, generation) for entry_id, generation in keywords["tickets"]]
            headers = envelope["headers"]
            found.append(Message(headers["id"], headers["task"], tickets, raw + base64.b64decode(envelope["body"])))
        return found

    @property
    def ledger_prefix(self) -> str:
        """What all keys of this ledger begin with."""
        return f"enrolment-reconciliation:{{{self.group_id}}}:"

    def _observe(self) -> Consumer:
        """Make a consumer that asks for the group's commits and never joins it."""
        return Consumer(
            {
                "bootstrap.servers": self.ports.bootstrap,
                "group.id": self.group_id,
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )

    def _places(self) -> list[TopicPartition]:
        found = self._observer.list_topics(self.input_topic, timeout=_LIMIT_SECONDS).topics[self.input_topic]
        return [TopicPartition(self.input_topic, number) for number in found.partitions]

    def _is_committed(self) -> bool:
        for process in self._bridges:
            process.check_alive()
        try:
            committed = self.commits()
            ends = {
                place.partition: self._observer.get_watermark_offsets(place, timeout=_LIMIT_SECONDS)[1]
                for place in self._places()
            }
        except KafkaException:
            # topics that were just made, and a Kafka that was just away, have no leader for a moment; and a client that
            # was there while Kafka showed no broker may never find one again (librdkafka, issue 5301)
            self._observer.close()
            self._observer = self._observe()
            return False
        return all(committed.get(number, (0, None))[0] == end for number, end in ends.items())


def wait_told(bridge: Process, text: str, times: int = 1) -> None:
    """Wait until a bridge has said this so many times."""
    wait_until(f"{text!r} in the bridge's log", lambda: bridge.output().count(text) >= times)


def open_ids(stand: BridgeStand, sent: list[Sent]) -> bool:
    """Whether the ledger holds these requests and no others."""
    return set(stand.entries()) == {stand.entry_id(place) for place in sent}


def settle(stand: BridgeStand, entry_ids: list[str]) -> None:
    """Do what a worker does at the end, in the ledger alone."""
    for entry_id in entry_ids:
        fields = stand.entries()[entry_id]
        stand.redis.delete(stand.ledger_prefix + "entry:" + entry_id)
        stand.redis.zrem(fields["open"], fields["offset"])
        stand.redis.zrem(stand.ledger_prefix + "due", entry_id)
        stand.redis.hdel(stand.ledger_prefix + "waiting", fields["enrolment"])
        stand.redis.decr(stand.ledger_prefix + "count")
