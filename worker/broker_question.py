"""Asks whether Celery's broker is there, apart from Celery's own connections, and soon."""

import threading
from concurrent.futures import Future, wait
from contextlib import suppress

import redis
import structlog
from kombu import Connection
from kombu.exceptions import KombuError
from redis.backoff import NoBackoff
from redis.retry import Retry

from reconciliation.background import started
from reconciliation.broker_options import broker_options
from reconciliation.redis_options import open_redis, sentinel_access
from reconciliation.settings import Settings
from reconciliation.settings_urls import is_redis_url, is_sentinel_url

log = structlog.get_logger(__name__)


class BrokerQuestion:
    """Called, it says whether the broker answers; each time over a connection of its own.

    Args:
        settings: of the broker.
        limit: how long whoever asks waits at most, in seconds; each step of connecting may take as long.

    """

    def __init__(self, settings: Settings, limit: float) -> None:
        self._settings = settings
        self._url = settings.celery_broker_url
        self._limit = limit
        self._lock = threading.Lock()
        self._asked: Future[bool] | None = None

    def __call__(self) -> bool:
        """Ask; where an earlier question is still under way, its answer is waited for, and taken if it came since.

        Steps add up: several sentinels are asked in turn, and kombu tries AMQP twice, with a pause
        (kombu/connection.py, Connection.connect). So they are taken in a thread of their own.
        """
        with self._lock:
            asked = self._asked = self._asked or self._begun()
        if not wait([asked], self._limit).done:
            return False
        with self._lock:
            if self._asked is asked:
                self._asked = None
        return asked.result()

    def _begun(self) -> "Future[bool]":
        answer: Future[bool] = Future()

        def ask() -> None:
            try:
                answer.set_result(self._ask())
            except Exception as error:  # noqa: BLE001 - raised by whoever waits
                answer.set_exception(error)

        def tell(why: str) -> None:
            log.warning("the broker can't be asked whether it is there", reason=why)
            answer.set_result(False)

        started(ask, "broker-question", tell)
        return answer

    def _ask(self) -> bool:
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
