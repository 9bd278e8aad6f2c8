"""Asks whether Celery's broker is there, apart from Celery's own connections, and soon."""

from contextlib import suppress

import redis
from kombu import Connection
from kombu.exceptions import KombuError
from redis.backoff import NoBackoff
from redis.retry import Retry

from reconciliation.broker_options import broker_options
from reconciliation.redis_options import open_redis, sentinel_access
from reconciliation.settings import Settings
from reconciliation.settings_urls import is_redis_url, is_sentinel_url


class BrokerQuestion:
    """Called, it says whether the broker answers; each time over a connection of its own.

    Args:
        settings: of the broker.
        limit: how long connecting and the answer may take, each, in seconds.

    """

    def __init__(self, settings: Settings, limit: float) -> None:
        self._settings = settings
        self._url = settings.celery_broker_url
        self._limit = limit

    def __call__(self) -> bool:
        """Ask."""
        return self._ask_redis() if is_redis_url(self._url) or is_sentinel_url(self._url) else self._ask_amqp()

    def _ask_redis(self) -> bool:
        # the client's own way to try again would multiply the limit
        client = open_redis(self._url, sentinel_access(self._settings), self._limit, retry=Retry(NoBackoff(), 0))
        try:
            client.ping()
        except (redis.RedisError, OSError):
            return False
        finally:
            client.close()
        return True

    def _ask_amqp(self) -> bool:
        options = broker_options(self._settings)
        limits = {"read_timeout": self._limit, "write_timeout": self._limit}
        connection = Connection(
            options.url, connect_timeout=self._limit, ssl=options.use_ssl or False, transport_options=limits
        )
        errors: tuple[type[BaseException], ...] = (KombuError, OSError, *connection.connection_errors)
        try:
            connection.connect()
        except errors:
            return False
        finally:
            with suppress(*errors):
                connection.close()
        return True
