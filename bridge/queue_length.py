"""Asks Celery's broker, whichever it is, how many messages wait in a queue; none is made by the question."""

from typing import Any

#: How brokers say that there is no such queue: Redis' transport as text, RabbitMQ as a number.
_NOT_FOUND = "404"


def queue_length(connection: Any, queue: str) -> int | None:
    """Count the messages that no worker has taken yet; None where there is no such queue.

    `connection` is kombu's, whose types name neither a channel's calls nor all of a connection's; what it raises is its
    own.
    """
    # Declaring tells the length. RabbitMQ makes a queue by it unless it is passive; in Redis it makes none, adds up the
    # lists of all priorities, and a passive one looks for these under names without our prefix (kombu/transport/
    # redis.py, Channel._size and _has_queue: GlobalKeyPrefixMixin knows no EXISTS).
    passive = connection.transport.driver_type != "redis"
    # one of its own, since a declaration that fails closes it
    channel = connection.channel()
    try:
        return int(channel.queue_declare(queue=queue, passive=passive).message_count)
    except connection.channel_errors as error:
        if str(getattr(error, "reply_code", None)) == _NOT_FOUND:
            return None
        raise
    finally:
        channel.close()
