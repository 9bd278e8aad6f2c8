"""How rows are read from Cassandra, whichever statements are at hand (docs/reconciliation.md, tables)."""

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from cassandra.cluster import ResponseFuture, Session

from reconciliation.binding import Statement
from reconciliation.completion_time import completion_time
from reconciliation.counters import Counters
from reconciliation.errors import ReconciliationError, StoreUnavailable
from reconciliation.model import IN_PROGRESS, Consumption, EnrolmentRow
from reconciliation.statements import SERVER_CLOCK
from reconciliation.store_connection import clock_difference, translated

#: What a request sent to Cassandra is until its answer is asked for: the driver's future, or why it could not be sent.
Pending: TypeAlias = ResponseFuture | ReconciliationError


class Reads:
    """Sends reads and collects their rows. Send all of a group before you collect the first."""

    def __init__(self, session: Session, counters: Counters) -> None:
        self._session = session
        self._counters = counters

    def send(self, statement: Statement, values: Sequence[object]) -> Pending:
        """Send a read; gives what `rows` takes."""
        self._counters.db_reads.inc()
        return sent(lambda: self._session.execute_async(statement.bind(values)))

    def rows(self, pending: Pending) -> list[tuple[Any, ...]] | ReconciliationError:
        """Wait for all rows of a read, or for the error of this read alone."""
        if isinstance(pending, ReconciliationError):
            return pending
        try:
            page = pending.result()
            rows: list[tuple[Any, ...]] = list(page.current_rows)
            while page.has_more_pages:
                self._counters.db_reads.inc()
                _limit_next_page(pending)
                page.fetch_next_page()
                rows.extend(page.current_rows)
        except Exception as error:  # noqa: BLE001 - every error of the driver is translated, none spoils the group
            return translated(error)
        return rows

    def server_clock_ms(self) -> int:
        """Return the clock of one Cassandra node in milliseconds; raises StoreUnavailable."""
        self._counters.db_reads.inc()
        try:
            clock_ms: int = self._session.execute(SERVER_CLOCK).one()[0]
        except Exception as error:
            raise StoreUnavailable(f"Cassandra's clock can't be read: {error}") from error
        return clock_ms

    def clock_difference(self) -> float:
        """Return by how many seconds this host's clock is ahead of a Cassandra node's; raises StoreUnavailable."""
        return clock_difference(self.server_clock_ms)


def _limit_next_page(future: ResponseFuture) -> None:
    """Give a read's next page the time-out that its first page had.

    The driver gives it none: it starts a timer where there is no other, and the first page's, which is over, is still
    there (cassandra/cluster.py, ResponseFuture._start_timer and _cancel_timer). A page that never came would be waited
    for without end.
    """
    future._timer, future._start_time = None, time.time()  # noqa: SLF001 - see above


def sent(send: Callable[[], ResponseFuture]) -> Pending:
    """Send a request by `send`; what the driver raises becomes our error."""
    try:
        return send()
    except Exception as error:  # noqa: BLE001 - every error of the driver is translated, none spoils the group
        return translated(error)


def first_error(results: Sequence[object]) -> ReconciliationError | None:
    """Give the first of these that is an error."""
    return next((result for result in results if isinstance(result, ReconciliationError)), None)


def enrolment_row(cells: Sequence[Any]) -> EnrolmentRow:
    """Make the row of what `read_enrolment` selects first: status, completedon and the write times."""
    status, completed_on_ms, *written_us, active_written_us = cells
    present = [stamp for stamp in written_us if stamp is not None]
    return EnrolmentRow(
        status, completed_on_ms, written_us[0], max(present, default=None), active_written_us, written_us[1]
    )


def consumption_row(content_id: str, status: int | None, *completed: Any) -> Consumption:
    """Make the row of what is selected of a content: id, status, and where they are read both times of completion."""
    return Consumption(content_id, IN_PROGRESS if status is None else status, completion_time(*completed))
