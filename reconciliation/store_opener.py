"""A process's connection to Cassandra, made at first use, again while that fails, and anew where it stays silent.

The driver looks its hosts' names up once, when it is made, and later knows their addresses alone (cassandra/cluster.py,
Cluster.__init__ and ControlConnection._reconnect_internal). Where all nodes come back under others, as a pod does that
is put onto another machine, it would never find them.
"""

import math
import threading
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import structlog

from reconciliation.errors import SettingsError, StoreUnavailable
from reconciliation.reminder import Reminder
from reconciliation.silence import Silence

log = structlog.get_logger(__name__)

#: After Cassandra refused a connection, attempts within this many seconds are told so without another try.
RECONNECT_PAUSE = 1.0
#: So long after the first probe that failed another connection is tried, then less and less often, in seconds.
RENEW_FIRST = 30.0
RENEW_MOST = 300.0
#: Whoever still waits for an answer by the old connection has so long, in seconds.
OLD_KEPT = 60.0


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
        self._silent = Silence(RENEW_FIRST, RENEW_MOST)
        self._replaced_at = -math.inf

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
        """Raise StoreUnavailable unless Cassandra answers.

        Where it has not for a while, another connection is tried, for those who ask after this.
        """
        store = self()
        try:
            store.probe()
        except StoreUnavailable:
            with self._lock:
                is_due = store is self._store and self._silent.is_due(time.monotonic())
            if is_due:
                self._renew()
            raise
        with self._lock:
            self._silent.ended()

    def probe_all_along(self) -> None:
        """Raise StoreUnavailable unless Cassandra answers, and has answered attempts that are still under way.

        For those that judge what such an attempt met: it may have been on the connection that another took the place
        of, and its failure was the server's though that answers now.
        """
        self.probe()
        if time.monotonic() < self._replaced_at + 2 * OLD_KEPT:
            raise StoreUnavailable("Cassandra answers a new connection, and attempts under way may be on the old one")

    def close(self) -> None:
        """Close the connection if there is one."""
        with self._lock:
            if self._store is not None:
                self._store.close()

    def _renew(self) -> None:
        """Put a new connection in the place of one that does not answer, if it does."""
        old = self._store
        try:
            other = self._connect()
        except (StoreUnavailable, SettingsError):
            return
        try:
            other.probe()
        except StoreUnavailable:
            other.close()
            return
        with self._lock:
            is_replaced = self._store is not old
            if not is_replaced:
                self._store = other
                self._silent.ended()
                self._replaced_at = time.monotonic()
        if is_replaced or old is None:
            # somebody else took as long
            other.close()
            return
        log.warning("Cassandra answers a new connection and did not answer the old one: it may have new addresses")
        ending = threading.Timer(OLD_KEPT, old.close)
        ending.daemon = True
        try:
            ending.start()
        except RuntimeError:
            # no thread is left for this process, or for its user (threading.py, Thread.start)
            old.close()
