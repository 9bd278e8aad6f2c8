"""The task `tasks.reconcile`: what Celery and Flower see of a group of requests."""

from typing import Any

import structlog
from celery import Task, shared_task
from celery.exceptions import Retry

from ledger.messages import RECONCILE_TASK, decode_message
from reconciliation.errors import LedgerUnavailable
from tasks.outcomes import Ending
from tasks.runner import make_runner
from tasks.summary import Summary
from worker.connections import current_connections

log = structlog.get_logger(__name__)


class RequestsGivenUp(Exception):
    """Raised to end a task as FAILURE when some of its requests went to the failed topic."""


class RequestsGoOn(Exception):
    """Says, where a task ends as RETRY, what became of its requests."""


@shared_task(bind=True, name=RECONCILE_TASK, throws=(RequestsGivenUp, LedgerUnavailable))
def reconcile(self: Task[Any, Any], version: object = None, tickets: object = None) -> dict[str, int]:
    """Attempt the entries that a message names (see `ledger.messages`).

    Ends as SUCCESS when all of them are done (or were another's), as RETRY when some go on later, and as FAILURE when
    some were given up. The state is for people: what happens next stands in the ledger, so raising Retry sends no
    message (celery/app/trace.py, TraceInfo.handle_retry only records it).
    """
    try:
        named = decode_message(version, tickets)
    except (TypeError, ValueError) as error:
        log.warning("a message that this release does not read is left to the sweep", error=str(error))
        return {"done": 0, "stale": 0}
    try:
        connections = current_connections()
        summary = make_runner(connections).run(named, task=self.request.id or "")
    except LedgerUnavailable as error:
        log.warning("the ledger is away: what was claimed is attempted again after its lease", error=str(error))
        raise
    _log(summary, self.request.id, len(named), is_each_told=connections.settings.log_requests)
    if given_up := summary.codes(Ending.GIVEN_UP):
        raise RequestsGivenUp(_tell("given up, see the failed topic", given_up, len(named)))
    if retried := summary.reasons(Ending.RETRIED):
        raise _retry("to be tried again alone", retried, len(named))
    if waiting := summary.reasons(Ending.WAITING):
        raise _retry("waiting for a server", waiting, len(named))
    return {"done": summary.done, "stale": summary.stale}


def _log(summary: Summary, task: str | None, named: int, *, is_each_told: bool) -> None:
    """Tell in one line how a task ended: below INFO where each of its requests has a line that says so."""
    retried, waiting = summary.reasons(Ending.RETRIED), summary.reasons(Ending.WAITING)
    counts: dict[str, object] = {
        "done": summary.done,
        "stale": summary.stale,
        "retried": len(retried),
        "waiting": len(waiting),
        "given_up": len(summary.codes(Ending.GIVEN_UP)),
    }
    if waiting or (retried and not is_each_told):
        # one line for all that wait: in an outage there are thousands
        log.warning("a task ended", task=task, **counts, reason=(waiting or retried)[0])
    elif is_each_told and len(summary.ended) == named:
        log.debug("a task ended", task=task, **counts)
    else:
        log.info("a task ended", task=task, **counts)


def _retry(what: str, reasons: tuple[str, ...], named: int) -> Retry:
    text = _tell(what, reasons, named)
    # Flower shows the exception's exc (celery/worker/request.py, Request.on_retry), the log its message
    return Retry(text, exc=RequestsGoOn(text))


def _tell(what: str, reasons: tuple[str, ...], named: int) -> str:
    return f"{len(reasons)} of {named} {what}: {reasons[0]}"
