"""Keeps claims alive while their attempts run, from one thread a process, and says so when an attempt hangs."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import structlog

from ledger.entries import Claim
from ledger.ledger import Ledger
from reconciliation.background import started
from reconciliation.errors import LedgerUnavailable
from reconciliation.reminder import Reminder

log = structlog.get_logger(__name__)

#: How long after a renewal that failed the next one is tried, in seconds.
_TRY_AGAIN_AFTER = 1.0


class Holding:
    """The claims of one attempt, kept alive until it ends or hangs."""

    def __init__(self, keys: Sequence[tuple[str, str]], longest: float) -> None:
        self.keys = keys
        self.is_hung = False
        self._longest = longest
        self._ends = 0.0
        self.touch()

    def touch(self) -> None:
        """Say that the attempt gets on, as one does that waits for something on purpose."""
        self._ends = time.monotonic() + self._longest

    def entries(self) -> list[str]:
        """List the entries whose claims these are."""
        return [entry_id for entry_id, _ in self.keys]

    def is_overdue(self) -> bool:
        """Say whether the attempt has not been heard of for too long."""
        return time.monotonic() > self._ends


class LeaseKeeper:
    """Renews every held claim three times a lease; those of an attempt that hangs no more, so that others go on.

    Args:
        ledger: whose claims are renewed.
        lease: how long a claim lasts unrenewed, in seconds.
        longest: how long an attempt may take, in seconds, counted from its last `Holding.touch`.
        on_hung: called, from the keeper's own thread, for each attempt that takes longer.

    """

    def __init__(self, ledger: Ledger, lease: float, longest: float, on_hung: Callable[[], None]) -> None:
        self._ledger = ledger
        # a hang is to be found soon after the limit, however long a lease is
        self._interval = min(lease / 3, longest / 2)
        self._longest = longest
        self._on_hung = on_hung
        self._holdings: set[Holding] = set()
        self._lock = threading.Lock()
        self._reminder = Reminder()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def holding(self, claims: Sequence[Claim]) -> Iterator[Holding]:
        """Keep these claims alive within the block.

        Where no thread can be started for it, the attempt goes on all the same: it may be over within its lease, which
        spends nobody's tries, and the next one tries to start the thread for both.
        """
        holding = Holding([(claim.entry_id, claim.token) for claim in claims], self._longest)
        with self._lock:
            self._holdings.add(holding)
            if self._thread is None:
                self._thread = started(self._renew_until_stopped, "lease-keeper", self._tell_no_thread)
        try:
            yield holding
        finally:
            with self._lock:
                self._holdings.discard(holding)

    def is_all_hung(self) -> bool:
        """Say whether attempts hang here and no other one runs."""
        with self._lock:
            return len(self._holdings) > 0 and all(holding.is_hung for holding in self._holdings)

    def close(self) -> None:
        """Stop renewing and wait for the thread to end."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=self._interval + 1)

    def _tell_no_thread(self, error: str) -> None:
        log.error("leases can't be renewed, nor hangs found, until another attempt begins", error=error)

    def _renew_until_stopped(self) -> None:
        untold: set[Holding] = set()
        pause = self._interval
        while not self._stopped.wait(pause):
            pause = self._interval
            with self._lock:
                hung = [holding for holding in self._holdings if not holding.is_hung and holding.is_overdue()]
                for holding in hung:
                    holding.is_hung = True
                # one that has ended meanwhile hangs no more
                untold = {*hung, *(untold & self._holdings)}
                held = [key for holding in self._holdings if not holding.is_hung for key in holding.keys]
            try:
                for holding in hung:
                    log.error("an attempt hangs, its requests go on elsewhere", entries=holding.entries())
                while untold:
                    self._on_hung()
                    untold.pop()
            except Exception:
                # the next round tells it again; the leases of others are renewed all the same
                log.exception("an attempt hangs, and nothing could be done about it yet")
            try:
                if held:
                    self._ledger.renew(held)
                    self._reminder.reset()
            except LedgerUnavailable as error:
                # soon again: bridges sweep a third of a lease after the ledger is back (bridge/sweep.py). A claim that
                # lapses meanwhile is found by its attempt when it settles
                pause = min(_TRY_AGAIN_AFTER, self._interval)
                if self._reminder.due("renewal", time.monotonic()):
                    log.warning("leases could not be renewed", held=len(held), error=str(error))
            except Exception:
                # this thread must outlive whatever nobody foresaw: without it every later claim would lapse
                log.exception("leases could not be renewed", held=len(held))
