"""How a worker counts the messages that it has in hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from kombu import Connection
from kombu.message import Message
from kombu.transport import virtual

from worker.celery import app
from worker.slots import FreedSlots, SlotFreeingQoS, free_slots


class HungClient:
    """Redis' client where Redis does not answer."""

    def pipeline(self) -> Any:
        return self

    def zrem(self, *_: object) -> Any:
        return self

    hdel = zrem

    def execute(self) -> None:
        raise redis.TimeoutError("Timeout reading from socket")

    def transaction(self, *_: object) -> None:
        self.execute()


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    @contextmanager
    def acquire(client: HungClient | None = None) -> Iterator[HungClient]:
        yield client or HungClient()

    with Connection("memory://") as connection:
        opened: Any = connection.channel()
        monkeypatch.setattr(opened, "conn_or_acquire", acquire, raising=False)
        for name in ("unacked_key", "unacked_index_key"):
            monkeypatch.setattr(opened, name, name, raising=False)
        opened.basic_qos(prefetch_count=2)
        yield opened


def take(channel: Any, tag: str) -> None:
    virtual.QoS.append(channel.qos, Message(b"", delivery_tag=tag, channel=channel), tag)


def test_a_message_whose_acknowledgement_was_not_answered_is_in_hand_no_longer(channel: Any) -> None:
    free_slots(channel)
    for tag in ("1", "2"):
        take(channel, tag)
    assert not channel.qos.can_consume()
    with pytest.raises(redis.TimeoutError):
        channel.basic_ack("1")
    assert channel.qos.can_consume()
    take(channel, "3")
    assert not channel.qos.can_consume()
    with pytest.raises(redis.TimeoutError):
        channel.basic_reject("2", requeue=True)
    assert channel.qos.can_consume()


@pytest.mark.parametrize(("driver", "frees"), [("redis", True), ("py-amqp", False)])
def test_a_worker_counts_so_where_its_broker_is_redis(channel: Any, driver: str, frees: bool) -> None:
    assert FreedSlots in app.steps["consumer"]
    connection = SimpleNamespace(transport=SimpleNamespace(driver_type=driver))
    consumer = SimpleNamespace(connection=connection, task_consumer=SimpleNamespace(channel=channel))
    FreedSlots(consumer).start(consumer)
    assert isinstance(channel.qos, SlotFreeingQoS) is frees
    assert channel.qos.prefetch_count == 2
