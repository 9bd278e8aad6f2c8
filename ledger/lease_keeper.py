"""Keeps claims alive while their attempts run, from one thread a process."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog

from ledger.entries import Claim
from ledger.ledger import Ledger
from reconciliation.errors import LedgerUnavailable

log = structlog.get_logger(__name__)


class LeaseKeeper:
    """Renews every held claim three times a lease, up to a limit, so that an attempt that hangs is given to another.

    Args:
        ledger: whose claims are renewed.
        lease: how long a claim lasts unrenewed, in seconds.
        longest: how long an attempt may be kept alive in all, in seconds.

    """

    def __init__(self, ledger: Ledger, lease: float, longest: float) -> None:
        self._ledger = ledger
        self._interval = lease / 3
        self._longest = longest
        self._held: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def holding(self, claims: Sequence[Claim]) -> Iterator[None]:
        """Keep these claims alive within the block."""
        ends = time.monotonic() + self._longest
        keys = [(claim.entry_id, claim.token) for claim in claims]
        with self._lock:
            self._held.update(dict.fromkeys(keys, ends))
            if self._thread is None:
                self._thread = threading.Thread(target=self._renew_until_stopped, name="lease-keeper", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                for key in keys:
                    self._held.pop(key, None)

    def close(self) -> None:
        """Stop renewing and wait for the thread to end."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=self._interval + 1)

    def _renew_until_stopped(self) -> None:
        while not self._stopped.wait(self._interval):
            now = time.monotonic()
            with self._lock:
                held = [key for key, ends in self._held.items() if ends > now]
            if not held:
                continue
            try:
                self._ledger.renew(held)
            except LedgerUnavailable as error:
                # the next round tries again; a claim that lapses meanwhile is found by its attempt when it settles
                log.warning("leases could not be renewed", held=len(held), error=str(error))
            except Exception:
                # this thread must outlive whatever nobody foresaw: without it every later claim would lapse
                log.exception("leases could not be renewed", held=len(held))
