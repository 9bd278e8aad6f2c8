"""Asks whether Celery's broker is there, apart from Celery's own connections, and soon."""

from contextlib import suppress

import redis
from kombu import Connection
from kombu.exceptions import KombuError
from redis.backoff import NoBackoff
from redis.retry import Retry


class BrokerQuestion:
    """Called, it says whether the broker answers; each time over a connection of its own.

    Args:
        url: celery.broker.url.
        limit: how long connecting and the answer may take, each, in seconds.

    """

    def __init__(self, url: str, limit: float) -> None:
        self._url = url
        self._limit = limit

    def __call__(self) -> bool:
        """Ask."""
        return self._ask_redis() if self._url.startswith("redis") else self._ask_amqp()

    def _ask_redis(self) -> bool:
        # the client's own way to try again would multiply the limit
        client = redis.Redis.from_url(
            self._url, socket_timeout=self._limit, socket_connect_timeout=self._limit, retry=Retry(NoBackoff(), 0)
        )
        try:
            client.ping()
        except (redis.RedisError, OSError):
            return False
        finally:
            client.close()
        return True

    def _ask_amqp(self) -> bool:
        connection = Connection(self._url, connect_timeout=self._limit)
        errors: tuple[type[BaseException], ...] = (KombuError, OSError, *connection.connection_errors)
        try:
            connection.connect()
        except errors:
            return False
        finally:
            with suppress(*errors):
                connection.close()
        return True
