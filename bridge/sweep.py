"""Sends what is overdue in the ledger again; any bridge may, since each entry is given to one (docs/reliability.md)."""

import structlog

from bridge.dispatch import BrokerUnavailable, Dispatcher
from ledger.entries import SweepReason
from ledger.ledger import Ledger

log = structlog.get_logger(__name__)

MOST_AT_ONCE = 500


class Sweeper:
    """Sweeps the ledger at an interval.

    Args:
        ledger: what is swept.
        dispatcher: where overdue entries are sent.
        interval: seconds between two sweeps.
        grace: seconds without a sweep after the ledger was away, in which workers renew their leases.

    """

    def __init__(self, ledger: Ledger, dispatcher: Dispatcher, interval: float, grace: float) -> None:
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._interval = interval
        self._grace = grace
        self._next_at = 0.0
        self._broker_away = False

    def is_due(self, now: float) -> bool:
        """Say whether it is time for a sweep."""
        return now >= self._next_at

    def put_off(self, now: float) -> None:
        """Hold back after the ledger was away, else claims lapse that are alive."""
        self._next_at = now + self._grace

    def begin(self, now: float, uptime: float) -> None:
        """Begin on a ledger whose server has been up for so many seconds: it may have been away just before."""
        if uptime < self._grace:
            self.put_off(now)

    def sweep(self, now: float) -> None:
        """Send what is overdue. Raises LedgerUnavailable or BrokerUnavailable; the next sweep makes up for it."""
        self._next_at = now + self._interval
        # each sweep prolongs an entry's wait: while nothing can be sent, one entry is enough to find out
        most = 1 if self._broker_away else MOST_AT_ONCE
        swept = self._ledger.sweep(most)
        if not swept:
            return
        try:
            self._dispatcher.send_swept(swept)
        except BrokerUnavailable:
            self._broker_away = True
            raise
        self._broker_away = False
        if len(swept) == most:
            self._next_at = now
        lapsed = sum(overdue.why is SweepReason.LAPSED for overdue in swept)
        if lapsed:
            log.warning("attempts ended without a word, their requests go on alone", requests=lapsed)
        log.debug("overdue requests were sent again", requests=len(swept))
