"""Celery's queue as it lies in the broker, to be looked at and tampered with."""

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from tests.faults.rabbitmq_queue import RabbitMqQueue, queue_exists
from tests.support.installation import Installation
from tests.support.run import is_rabbitmq

Envelope = dict[str, Any]


class BrokerQueue(Protocol):
    """The queue of one environment. Messages are given and taken in the order in which workers get them."""

    def __len__(self) -> int:
        """Count the messages that no worker has taken."""

    def unacknowledged(self) -> int:
        """How many messages were taken off the queue and are not acknowledged."""

    def messages(self) -> list[bytes]:
        """Every message on the queue, as Redis' transport writes them; no worker may run."""

    def replace(self, messages: Sequence[bytes]) -> None:
        """Put these messages in place of all that lie there."""


def queue_of(site: Installation) -> BrokerQueue:
    """Give the queue of an environment, whichever broker it has."""
    return RabbitMqQueue(site) if is_rabbitmq() else RedisQueue(site)


def queues_named(site: Installation, name: str) -> list[str]:
    """List the queues that an environment has by this name."""
    if is_rabbitmq():
        return [name] if queue_exists(site.settings["CELERY_BROKER_URL"], name) else []
    return [key.decode() for key in site.redis.scan_iter(f"*{site.group_id}*{name}*", count=1000)]


class RedisQueue:
    """The queue as it lies in Redis."""

    def __init__(self, site: Installation) -> None:
        self._redis = site.redis
        self._prefix = f"{site.group_id}:celery:"
        self._key = self._prefix + site.group_id

    def __len__(self) -> int:
        return int(self._redis.llen(self._key))

    def unacknowledged(self) -> int:
        """How many messages were taken off the queue and are not acknowledged."""
        return int(self._redis.hlen(self._prefix + "unacked"))

    def messages(self) -> list[bytes]:
        """Every message on the queue."""
        return list(reversed(self._redis.lrange(self._key, 0, -1)))

    def replace(self, messages: Sequence[bytes]) -> None:
        """Put these messages in place of all that lie there."""
        with self._redis.pipeline(transaction=True) as together:
            together.delete(self._key)
            if messages:
                together.lpush(self._key, *messages)
            together.execute()


def ticket_count(message: bytes) -> int:
    """How many entries a good message names."""
    return len(_arguments(json.loads(message))["tickets"])


def with_arguments(message: bytes, change: Callable[[dict[str, Any]], dict[str, Any]]) -> bytes:
    """Give a good message with other keyword arguments."""
    envelope: Envelope = json.loads(message)
    positional, _, embedded = json.loads(base64.b64decode(envelope["body"]))
    body = json.dumps([positional, change(_arguments(envelope)), embedded]).encode()
    return json.dumps({**envelope, "body": base64.b64encode(body).decode()}).encode()


def with_envelope(message: bytes, change: Callable[[Envelope], Envelope]) -> bytes:
    """Give a good message with another envelope."""
    return json.dumps(change(json.loads(message))).encode()


def with_headers(message: bytes, **headers: object) -> bytes:
    """Give a good message with some headers changed."""
    return with_envelope(message, lambda it: {**it, "headers": {**it["headers"], **headers}})


def _arguments(envelope: Envelope) -> dict[str, Any]:
    _, keywords, _ = json.loads(base64.b64decode(envelope["body"]))
    return dict(keywords)
