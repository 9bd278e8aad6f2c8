"""The ledger's connection to Redis: its keys' prefix, its scripts and its clock."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from ledger.scripts import SCRIPTS, load_script
from reconciliation.errors import LedgerOutOfMemory, LedgerUnavailable
from reconciliation.redis_options import SentinelAccess, open_redis, remedy

_LOGIN = "user and password in ledger.redis.url (LEDGER_REDIS_URL), or in celery.broker.url where that one is not set"
_TLS = "the scheme and ssl_ca_certs of ledger.redis.url (LEDGER_REDIS_URL), or of celery.broker.url"
# What Redis says to whoever wants memory that it has not (server.c, oomerr).
_NO_MEMORY = "command not allowed when used memory"
# What a replica says to whoever writes (server.c, roslaveerr); before version 7 a script's error has it in its text.
_READ_ONLY = "READONLY"
#: How often a command is repeated after a lost connection or a time-out before the ledger counts as away.
COMMAND_RETRIES = 2


@dataclass(frozen=True, slots=True)
class LedgerConfig:
    """What the ledger needs to know: its server, whose ledger it is, its bounds and its times (in seconds)."""

    url: str = field(repr=False)
    group_id: str
    max_open: int
    max_waiting: int
    failures_per_minute: int
    lease: float
    sweep_after: float
    sweep_max_wait: float
    sweep_rate: int
    paid_memory: int
    timeout: float
    max_open_of_run: int = 1000
    sentinel: SentinelAccess | None = None


class LedgerConnection:
    """One process's way to the ledger's Redis. Safe for use by several threads.

    Args:
        config: where and whose.
        clock_ms: the time in milliseconds for tests; by default the server's own clock, which all hosts share.

    """

    def __init__(self, config: LedgerConfig, clock_ms: Callable[[], int] | None = None) -> None:
        self._clock_ms = clock_ms
        # the braces keep all keys of a group in one slot of a Redis cluster
        self.prefix = f"enrolment-reconciliation:{{{config.group_id}}}:"
        self.redis = open_redis(
            config.url,
            config.sentinel,
            config.timeout,
            socket_keepalive=True,
            health_check_interval=30,
            retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), COMMAND_RETRIES),
            retry_on_error=[redis.ConnectionError, redis.TimeoutError],
        )
        self._scripts = {name: self.redis.register_script(load_script(name)) for name in SCRIPTS}

    def run(self, name: str, arguments: Sequence[str | bytes | int]) -> list[Any]:
        """Run a script of `ledger/scripts`; gives its rows. Raises LedgerUnavailable."""
        now = 0 if self._clock_ms is None else self._clock_ms()
        with self.writing():
            rows: list[Any] = self._scripts[name](keys=[self.prefix], args=[now, *arguments])
        return rows

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Do as `translated` does, and leave a Redis that takes no writes since it was made a replica."""
        with translated():
            try:
                yield
            except redis.ResponseError as error:
                if isinstance(error, redis.ReadOnlyError) or _READ_ONLY in str(error):
                    self.leave()
                raise

    def leave(self) -> None:
        """Close the connections that nobody uses now: the next ones lead to where the ledger's name leads by then.

        A Redis that was made a replica answers on, and the client, which leaves one that Sentinel named, stays with
        any other (redis/sentinel.py, SentinelManagedConnection.read_response).
        """
        self.redis.connection_pool.disconnect(inuse_connections=False)

    def close(self) -> None:
        """Close the connections to Redis."""
        self.redis.close()


@contextmanager
def translated() -> Iterator[None]:
    """Turn every error of the Redis client within the block into LedgerUnavailable, or LedgerOutOfMemory."""
    try:
        yield
    except redis.RedisError as error:
        # of a script's error the client does not tell the kind
        kind = LedgerOutOfMemory if _NO_MEMORY in str(error) else LedgerUnavailable
        raise kind(f"the ledger's Redis: {remedy(error, _LOGIN, _TLS)}") from error
