"""The task `tasks.reconcile`: what Celery and Flower see of a group of requests."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import structlog
from celery import Task, shared_task
from celery.exceptions import Retry

from ledger.entries import Ticket
from ledger.messages import RECONCILE_TASK, decode_message
from reconciliation.errors import LedgerUnavailable, PutOff
from reconciliation.printing import printable
from reconciliation.settings import Settings
from tasks.outcomes import Ending
from tasks.portions import Attempt, attempt_in_portions
from tasks.runner import make_runner
from tasks.summary import Summary
from tasks.unacknowledged import AttemptLost, acknowledged_for, is_end_of_process, lost
from worker.connections import STOPPING, Connections, current_connections
from worker.lane import CLICKS

log = structlog.get_logger(__name__)

# What Flower and Celery's own log line show of a reason, in characters; the failed event and our log have all of it.
_LONGEST_REASON = 500


class RequestsGivenUp(Exception):
    """Raised to end a task as FAILURE when some of its requests went to the failed topic."""


class RequestsGoOn(Retry):
    """Raised to end a task as RETRY; says what became of its requests."""

    def __repr__(self) -> str:
        # what Flower shows (celery/worker/request.py, Request.on_retry); Retry's own repeats itself
        return f"{type(self).__name__}({self.message!r})"


@shared_task(bind=True, name=RECONCILE_TASK, throws=(RequestsGivenUp, LedgerUnavailable, AttemptLost))
def reconcile(self: Task[Any, Any], version: object = None, tickets: object = None) -> dict[str, int]:
    """Attempt the entries that a message names (see `ledger.messages`).

    Ends as SUCCESS when all of them are done (or were another's), as RETRY when some go on later, and as FAILURE when
    some were given up. The state is for people: what happens next stands in the ledger, so raising Retry sends no
    message (celery/app/trace.py, TraceInfo.handle_retry only records it). Raises AttemptLost in place of what Celery
    would not acknowledge the message for; what a signal raises to end the process passes.
    """
    try:
        return _reconcile(self, version, tickets)
    except BaseException as error:
        if acknowledged_for(error) or is_end_of_process(error):
            raise
        # not what Celery or anybody else may find as its cause, and act upon
        raise lost(error) from None


def _reconcile(task: Task[Any, Any], version: object, tickets: object) -> dict[str, int]:
    try:
        named = decode_message(version, tickets)
    except (TypeError, ValueError) as error:
        log.warning("a message that this release does not read is left to the sweep", error=str(error))
        return {"done": 0, "stale": 0}
    try:
        connections = current_connections()
        run = partial(make_runner(connections).run, task=task.request.id or "")
        summary = _beside_clicks(named, run, connections.settings) if _is_of_run(task, connections) else run(named)
    except LedgerUnavailable as error:
        log.warning("the ledger is away: what was claimed is attempted again after its lease", error=str(error))
        raise
    _log(summary, task.request.id, len(named), is_each_told=connections.settings.log_requests)
    if given_up := summary.codes(Ending.GIVEN_UP):
        raise RequestsGivenUp(_tell("given up, see the failed topic", given_up, len(named)))
    if retried := summary.reasons(Ending.RETRIED):
        raise _retry("to be tried again alone", retried, len(named))
    if waiting := summary.reasons(Ending.WAITING):
        raise _retry("put off" if _is_put_off(waiting) else "waiting for a server", waiting, len(named))
    return {"done": summary.done, "stale": summary.stale}


def _is_of_run(task: Task[Any, Any], connections: Connections) -> bool:
    return (task.request.delivery_info or {}).get("routing_key") == connections.settings.bulk_queue


def _beside_clicks(tickets: Sequence[Ticket], attempt: Attempt, settings: Settings) -> Summary:
    return attempt_in_portions(
        tickets, attempt, percent=settings.bulk_worker_share, clicks_come=CLICKS.come, rest=STOPPING.wait
    )


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
    if waiting and not retried and _is_put_off(waiting):
        log.debug("a task ended", task=task, **counts, reason=waiting[0])
    elif waiting or (retried and not is_each_told):
        # one line for all that wait: in an outage there are thousands
        log.warning("a task ended", task=task, **counts, reason=(waiting or retried)[0])
    elif is_each_told and len(summary.ended) == named:
        log.debug("a task ended", task=task, **counts)
    else:
        log.info("a task ended", task=task, **counts)


def _is_put_off(reasons: tuple[str, ...]) -> bool:
    """Say whether these wait for their time and not for a server: nothing is wrong then."""
    return all(reason.startswith(f"{PutOff.code}:") for reason in reasons)


def _retry(what: str, reasons: tuple[str, ...], named: int) -> Retry:
    return RequestsGoOn(_tell(what, reasons, named))


def _tell(what: str, reasons: tuple[str, ...], named: int) -> str:
    # reasons carry courses' ids, which anybody may have made up
    return f"{len(reasons)} of {named} {what}: {printable(reasons[0][:_LONGEST_REASON])}"
