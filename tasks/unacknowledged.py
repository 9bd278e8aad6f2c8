"""Turns what Celery would never acknowledge a message for into an error that it does.

Celery frees a message's place among those that a worker has in hand when it acknowledges or rejects it, and does
neither for two kinds of error. Of one that is no Exception its pool of threads makes an ExceptionInfo
(celery/concurrency/base.py, apply_target), which the request then can't take apart into three
(celery/worker/request.py, Request.on_success); a MemoryError is raised anew before the acknowledgement (the same file,
Request.on_failure). Either ends in a future that nobody asks (celery/concurrency/thread.py, TaskPool.on_apply). After
as many of these as it has threads a worker would take nothing more, and say that it is well.
"""

import traceback
from contextlib import suppress

import structlog
from billiard.common import terminate_handler_fired  # type: ignore[attr-defined] # the stubs are of an older billiard
from celery.exceptions import WorkerShutdown, WorkerTerminate

log = structlog.get_logger(__name__)


class AttemptLost(Exception):
    """Raised to end a task that memory ran out for, or that code in it tried to end the process from.

    Its text is the name of the error's class alone. What was claimed is attempted again after its lease.
    """


def is_end_of_process(error: BaseException) -> bool:
    """Say whether an error is a signal's, by which the process ends: it is to pass whoever meets it.

    In the solo pool these interrupt an attempt (celery/apps/worker.py, on_hard_shutdown), in a pool of processes the
    SystemExit of its own handler does (billiard/common.py, _shutdown_cleanup).
    """
    if isinstance(error, WorkerShutdown | WorkerTerminate):
        return True
    return isinstance(error, SystemExit) and bool(terminate_handler_fired())


def acknowledged_for(error: BaseException) -> bool:
    """Say whether Celery acknowledges a task's message that ends with this error."""
    return isinstance(error, Exception) and not isinstance(error, MemoryError)


def lost(error: BaseException) -> AttemptLost:
    """Tell of an attempt that ended without a word, and give what its task is to end with."""
    name = type(error).__name__
    # there may still be no memory for the line, and without an end the message would stay in hand all the same
    with suppress(MemoryError):
        # not the error's own text, which may name a learner
        log.error(
            "an attempt ended without a word: what it claimed is attempted again after its lease",
            error=name,
            exception="".join(traceback.format_tb(error.__traceback__)).rstrip(),
        )
    return AttemptLost(name)
