"""How many messages lie on Celery's queue, asked of whatever broker there is."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu import Connection
from kombu.exceptions import KombuError

from bridge.dispatch import make_app
from commands.endings import ServerAway

#: Without a limit kombu tries for ever to connect (kombu/connection.py, Connection.default_channel).
_CONNECT_ONCE = {"max_retries": 1, "interval_start": 0.1, "interval_step": 0, "interval_max": 0.1}

#: What RabbitMQ answers about a queue that it does not have: no worker and no bridge has ever been there.
_NO_QUEUE = 404


class BrokerQueue:
    """Celery's queue, asked over one connection."""

    def __init__(self, connection: Connection, name: str) -> None:
        # kombu's types name neither a channel's calls nor all of a connection's
        self._connection: Any = connection
        self._name = name

    def length(self) -> int:
        """Count the messages that no worker has taken yet. Raises ServerAway."""
        connection = self._connection
        # Declaring tells the length. RabbitMQ makes a queue by it unless it is passive; in Redis it makes none, and a
        # passive one looks for the queue without our prefix and never finds it (kombu/transport/redis.py,
        # Channel._has_queue: GlobalKeyPrefixMixin knows no EXISTS).
        passive = connection.transport.driver_type != "redis"
        try:
            # a declaration that fails closes its channel
            channel = connection.channel()
            try:
                return int(channel.queue_declare(queue=self._name, passive=passive).message_count)
            except connection.channel_errors as error:
                if getattr(error, "reply_code", None) == _NO_QUEUE:
                    return 0
                raise
            finally:
                channel.close()
        except (KombuError, OSError, *connection.connection_errors, *connection.channel_errors) as error:
            raise ServerAway(
                f"Celery's broker: {type(error).__name__}: {error}; is it up, and does celery.broker.url "
                "(CELERY_BROKER_URL) name it?"
            ) from error


@contextmanager
def open_queue(name: str, timeout: float) -> Iterator[BrokerQueue]:
    """Give Celery's queue of this name, which answers within `timeout` seconds; it asks its server nothing yet."""
    # Redis has its limits from celeryconfig.py; py-amqp waits for ever unless it is told (amqp/connection.py)
    limits = {"read_timeout": timeout, "write_timeout": timeout}
    with make_app().connection_for_read(transport_options={**_CONNECT_ONCE, **limits}) as connection:
        yield BrokerQueue(connection, name)
