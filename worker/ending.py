"""Ends a worker in time, whoever asks for it: a signal, an operator's remote command, or an error of Celery's."""

import os
import signal
import threading
from contextlib import suppress

import structlog

from reconciliation.settings import process_settings
from worker.connections import STOPPING, is_all_hung
from worker.pool_metrics import POOL_METRICS
from worker.replacement import REPLACEMENT, wait_for_idle

log = structlog.get_logger(__name__)

_STANDARD_ERROR = 2


def end_in_time(exit_code: int = 0) -> None:
    """End the process when the orderly way takes too long, as it does while a server or an attempt hangs.

    Celery waits for its broker's answers without a limit of its own (celery/worker/worker.py,
    WorkController._shutdown), and for its threads (celery/concurrency/thread.py, TaskPool.on_stop).
    Nothing is lost by it: what runs is attempted again after its lease. Another SIGTERM changes nothing: Celery goes on
    with its orderly end (celery/apps/worker.py, on_cold_shutdown).
    """
    STOPPING.set()
    if REPLACEMENT.heard():
        return
    limit = process_settings().worker_shutdown_limit
    threading.Thread(target=_end_late, args=(limit, exit_code), name="end-in-time", daemon=True).start()


def take_keys() -> None:
    """Have Ctrl-C end a worker of threads as SIGTERM does, and the second one, or SIGQUIT, at once.

    Celery's own answer to these two would cancel the attempts, which its pool of threads does not know how to
    (celery/concurrency/base.py, BasePool.terminate_job), and go on with connections that are closed.
    """
    signal.signal(signal.SIGINT, _end_in_order)
    signal.signal(signal.SIGQUIT, _end_at_once)


def _end_in_order(_number: int, _frame: object) -> None:
    signal.signal(signal.SIGINT, _end_at_once)
    _say("worker: Ctrl-C again ends it at once")
    os.kill(os.getpid(), signal.SIGTERM)


def _end_at_once(_number: int, _frame: object) -> None:
    _say("worker: ended at once, what ran is attempted again after its lease")
    os._exit(1)


def _say(text: str) -> None:
    """Say something from a signal's handler, which may have come in the middle of a line of the log."""
    with suppress(OSError):
        os.write(_STANDARD_ERROR, f"{text}\n".encode())


def _end_late(limit: float, exit_code: int) -> None:
    """Wait until the limit, in seconds, or until nothing but hanging attempts is left; then end what is still here."""
    wait_for_idle(is_all_hung, limit)
    log.warning("the worker did not end in time and is ended: what ran is attempted again after its lease")
    POOL_METRICS.end()
    os._exit(exit_code)
