"""How many messages lie on Celery's queues, asked of whatever broker there is."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kombu import Connection
from kombu.exceptions import KombuError

from bridge.dispatch import CONNECT_ONCE, make_app
from bridge.queue_length import queue_length
from commands.endings import ServerAway


class BrokerQueue:
    """Celery's queues, the clicks' and the bulk runs', asked over one connection."""

    def __init__(self, connection: Connection, names: Sequence[str]) -> None:
        # kombu's types name neither a channel's calls nor all of a connection's
        self._connection: Any = connection
        self._names = names

    def length(self) -> int:
        """Count the messages that no worker has taken yet. Raises ServerAway."""
        connection = self._connection
        try:
            # no worker and no bridge has ever been there where there is no queue
            return sum(queue_length(connection, name) or 0 for name in self._names)
        except (KombuError, OSError, *connection.connection_errors, *connection.channel_errors) as error:
            raise ServerAway(
                f"Celery's broker: {type(error).__name__}: {error}; is it up, and does celery.broker.url "
                "(CELERY_BROKER_URL) name it?"
            ) from error


@contextmanager
def open_queue(names: Sequence[str], timeout: float) -> Iterator[BrokerQueue]:
    """Give Celery's queues of these names, which answer within `timeout` seconds; it asks its server nothing yet."""
    # Redis keeps to its limits from celeryconfig.py
    limits = {"read_timeout": timeout, "write_timeout": timeout}
    with make_app().connection_for_read(transport_options={**CONNECT_ONCE, **limits}) as connection:
        yield BrokerQueue(connection, names)
