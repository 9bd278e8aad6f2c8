"""Ends what an operator revoked: its requests go to the failed topic, with that reason (docs/reliability.md).

Celery throws a revoked task's message away (celery/worker/request.py, Request.revoked), and every later one under the
same id. So what it names is worked on here, outside Celery.
"""

import queue
import threading
import time
from collections.abc import Sequence
from typing import Any

import structlog
from celery import signals

from ledger.entries import Ticket
from ledger.messages import RECONCILE_TASK, decode_message
from reconciliation.background import started
from reconciliation.errors import REVOKED, LedgerUnavailable
from reconciliation.model import FinalFailure
from tasks.runner import make_runner
from worker.connections import current_connections

log = structlog.get_logger(__name__)

#: How many revoked messages may wait here. What comes beyond is sent again by the sweep and comes again.
MOST_WAITING = 1000


class Revocations:
    """Works on revoked messages, one after the other, in a thread of its own that starts with the first."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[Sequence[Ticket]] = queue.Queue(MOST_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, tickets: Sequence[Ticket]) -> None:
        """Take in what a revoked message named; never waits, and never raises where no thread starts."""
        try:
            self._waiting.put_nowait(tickets)
        except queue.Full:
            log.warning("too many tasks are revoked at once: their requests come again", requests=len(tickets))
        with self._lock:
            if self._thread is None:
                self._thread = started(self._run, "revocations", self._tell_no_thread)

    def _tell_no_thread(self, error: str) -> None:
        log.warning("revoked tasks wait for another to be revoked: no thread starts", error=error)

    def _run(self) -> None:
        while True:
            tickets = self._waiting.get()
            try:
                connections = current_connections()
                failure = FinalFailure(REVOKED, "an operator revoked its task", 0, time.time_ns() // 1_000_000)
                condemned = connections.ledger.condemn(tickets, failure)
                log.warning("a task was revoked", requests=len(tickets), given_up=condemned)
                # a message under this id would be thrown away again, so also what owes a completion goes on here
                make_runner(connections).run(tickets)
            except LedgerUnavailable as error:
                log.warning("a revoked task's requests come again with the sweep", error=str(error))
            except BaseException:
                # no signal reaches this thread, so none of these ends the process: the thread must outlive it
                log.exception("a revoked task could not be worked on, its requests come again")


_revocations = Revocations()


@signals.task_revoked.connect
def take_revoked(request: Any = None, **_: Any) -> None:
    """Take over the requests of a task that Celery discards."""
    if request is None or request.task != RECONCILE_TASK:
        return
    arguments = request.kwargs or {}
    try:
        tickets = decode_message(arguments.get("version"), arguments.get("tickets"))
    except (TypeError, ValueError) as error:
        log.warning("a revoked message that this release does not read is left to the sweep", error=str(error))
        return
    _revocations.add(tickets)
