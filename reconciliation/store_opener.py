"""A process's connection to Cassandra, made at first use and again while that fails."""

import threading
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import structlog

from reconciliation.errors import SettingsError, StoreUnavailable
from reconciliation.reminder import Reminder

log = structlog.get_logger(__name__)

#: After Cassandra refused a connection, attempts within this many seconds are told so without another try.
RECONNECT_PAUSE = 1.0


class Opened(Protocol):
    """A connection to Cassandra, whatever it is for."""

    def probe(self) -> None:
        """Raise StoreUnavailable while Cassandra is away."""

    def close(self) -> None:
        """Close all connections."""


class Store(Opened, Protocol):
    """A learner's tables: the `EnrolmentStore`, or in shadow mode the `LearnerReader`."""

    def clock_difference(self) -> float:
        """Return by how many seconds this host's clock is ahead of Cassandra's; raises StoreUnavailable."""


S_co = TypeVar("S_co", bound=Opened, covariant=True)


class StoreOpener(Generic[S_co]):
    """Gives the process's connection to Cassandra, connecting at first use and again while that fails."""

    def __init__(self, connect: Callable[[], S_co]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._store: S_co | None = None
        self._refused: StoreUnavailable | None = None
        self._try_after = 0.0
        self._reminder = Reminder()

    def __call__(self) -> S_co:
        """Give the connection. Raises StoreUnavailable while Cassandra is away or lacks a table."""
        with self._lock:
            if self._store is not None:
                return self._store
            if self._refused is not None and time.monotonic() < self._try_after:
                raise self._refused
            try:
                self._store = self._connect()
            except (StoreUnavailable, SettingsError) as error:
                # a missing table is mended by an operator, not by giving requests up: they wait as for an outage
                self._refused = StoreUnavailable(str(error))
                self._try_after = time.monotonic() + RECONNECT_PAUSE
                if self._reminder.due("refused", time.monotonic()):
                    log.error("Cassandra can't be used: requests wait for it", error=str(error))
                raise self._refused from error
            return self._store

    def is_open(self) -> bool:
        """Say whether Cassandra was reached; waits for nobody."""
        return self._store is not None

    def probe(self) -> None:
        """Raise StoreUnavailable unless Cassandra answers a read."""
        self().probe()

    def close(self) -> None:
        """Close the connection if there is one."""
        with self._lock:
            if self._store is not None:
                self._store.close()
