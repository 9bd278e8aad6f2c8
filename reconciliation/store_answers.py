"""Requests on their way to Cassandra, each with the time limit that the settings give it (`lms-cassandra.timeout`).

Left to itself the driver sets a timer for each request, and each timer wakes its event loop
(cassandra/io/libevreactor.py, LibevLoop.add_timer), which takes the interpreter from whoever is working: a tenth of a
worker's time. Whoever waits for an answer can look at the clock as well.
"""

import time
from collections.abc import Callable, Iterable
from typing import TypeAlias

from cassandra.cluster import EXEC_PROFILE_DEFAULT, ResponseFuture, ResultSet, Session
from cassandra.query import Statement

from reconciliation.errors import ReconciliationError
from reconciliation.store_errors import translated


class Answer:
    """What a request is until it is answered."""

    __slots__ = ("_future", "_seconds", "_until")

    def __init__(self, future: ResponseFuture, seconds: float) -> None:
        self._future = future
        self._seconds = seconds
        self._until = time.monotonic() + seconds

    def wait(self) -> None:
        """Wait until it is answered, or its time is over."""
        answered = self._future._event  # noqa: SLF001 - ResponseFuture.result waits for it, without a limit
        if not answered.is_set() and not answered.wait(max(0.0, self._until - time.monotonic())):
            # what the driver does when a timer of its own fires: it fails, and an answer that comes late is known
            self._future._on_timeout()  # noqa: SLF001 - see above

    def result(self) -> ResultSet:
        """Give the answer; of rows the first page. Raises what the driver raises, OperationTimedOut among it."""
        self.wait()
        return self._future.result()

    def next_page(self) -> ResultSet:
        """Ask for the page after the one that `result` gave; it has the whole time to itself. Raises as `result`."""
        self._future.start_fetching_next_page()
        self._until = time.monotonic() + self._seconds
        return self.result()


#: What a request is until its answer is asked for, or why it could not be sent.
Pending: TypeAlias = Answer | ReconciliationError


class Sender:
    """Sends requests of one session. Send all of a group before you wait for the first."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._seconds: float = session.get_execution_profile(EXEC_PROFILE_DEFAULT).request_timeout

    def send(self, bound: Callable[[], Statement], paging_state: bytes | None = None) -> Pending:
        """Send what `bound` gives; what it and the driver raise becomes our error."""
        try:
            future = self._session.execute_async(bound(), timeout=None, paging_state=paging_state)
        except Exception as error:  # noqa: BLE001 - every error of the driver is translated, none spoils the group
            return translated(error)
        return Answer(future, self._seconds)


def wait_for_all(pending: Iterable[Pending]) -> None:
    """Wait until everything of a group is answered, or its time is over.

    It waits for what was sent last first. Most answers have come by then, so a thread wakes up a few times for a group
    and not once for each, which the other threads would have to make room for.
    """
    for answer in reversed(list(pending)):
        if isinstance(answer, Answer):
            answer.wait()
