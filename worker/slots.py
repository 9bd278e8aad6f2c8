"""Keeps a worker taking messages where Redis, as the broker, did not answer an acknowledgement.

kombu's bound on the messages in hand counts one until its acknowledgement is done (kombu/transport/redis.py, QoS.ack,
which asks Redis first), and Celery acknowledges once: where Redis takes longer than it may, that is logged and the
message counts for ever (kombu/message.py, Message.ack_log_error; celery/worker/request.py, Request.acknowledge). After
as many of these as it has threads, a worker would take nothing more, and say that it is well.
"""

from typing import Any

from celery import bootsteps
from celery.worker.consumer.tasks import Tasks
from kombu.transport import redis, virtual


class SlotFreeingQoS(redis.QoS):
    """Counts a message no longer once its acknowledgement was asked for, whatever came of it.

    What Redis did not hear of it gives to a worker again, after the visibility timeout; it is stale then.
    """

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message. Raises what Redis' client raises."""
        try:
            super().ack(delivery_tag)
        finally:
            virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Refuse a message. Raises what Redis' client raises."""
        try:
            super().reject(delivery_tag, requeue=requeue)
        finally:
            virtual.QoS.ack(self, delivery_tag)


class FreedSlots(bootsteps.StartStopStep):
    """Gives each new connection's channel that way of counting, before it takes its first message."""

    requires = (Tasks,)

    def start(self, consumer: Any) -> None:
        """Exchange the channel's way of counting, which counts nothing yet."""
        if consumer.connection.transport.driver_type == "redis":
            free_slots(consumer.task_consumer.channel)


def free_slots(channel: Any) -> None:
    """Have a channel of Redis count so; it must have no message in hand."""
    channel.QoS = SlotFreeingQoS
    channel._qos = SlotFreeingQoS(channel, channel.qos.prefetch_count)  # noqa: SLF001 - kombu makes its own by the class
