"""Replaces a worker's process in which an attempt hangs: a thread can't be ended, the process that it is in can.

The process runs its own command again under the same process id, so that no supervisor is needed for it. Celery's own
restart on SIGHUP waits for the pool first (celery/apps/worker.py, install_worker_restart_handler), so for ever here.
"""

import fcntl
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from worker.streams import flush_streams

log = structlog.get_logger(__name__)

_STREAMS = 3
#: How often an ending process looks whether its other attempts have ended, in seconds.
_PAUSE = 0.2


def wait_for_idle(is_idle: Callable[[], bool], limit: float, is_wanted: Callable[[], bool] = lambda: True) -> None:
    """Wait until nothing but hanging attempts is left, for `limit` seconds at most, and only while that is wanted."""
    ends = time.monotonic() + limit
    while is_wanted() and time.monotonic() < ends and not is_idle():
        time.sleep(_PAUSE)


class Replacement:
    """Whether this process is to be replaced. Made once, before a pool forks its children."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_wanted = False
        self._is_own_signal = False
        self._is_to_end = False
        self._main_pid = os.getpid()

    def is_pool_child(self) -> bool:
        """Say whether this process is a child of a pool, which starts another when it ends."""
        return os.getpid() != self._main_pid

    def want(self, is_idle: Callable[[], bool], limit: float) -> None:
        """Have the process replaced as soon as `is_idle` says that nothing but hanging attempts runs in it.

        That may be now. Else it is told to end in order, as an operator would tell it, so it takes no more, and is
        replaced after `limit` seconds in any case. A process that an operator ends is not replaced. Raises RuntimeError
        where no thread can be started for it; nothing is wanted then.
        """
        if self.is_pool_child():
            os._exit(1)
        with self._lock:
            if self._is_wanted or self._is_to_end:
                return
            # before the start, since the thread looks at it
            self._is_wanted = True
            try:
                threading.Thread(target=self._replace, args=(is_idle, limit), name="replacement", daemon=True).start()
            except RuntimeError:
                self._is_wanted = False
                raise
        log.error("an attempt hangs: this worker starts anew as soon as its other attempts have ended")

    def heard(self) -> bool:
        """Say whether what asks for the end is our own signal; else an operator wants the worker gone."""
        with self._lock:
            was_own, self._is_own_signal = self._is_own_signal, False
            self._is_wanted = self._is_wanted and was_own
            self._is_to_end = self._is_to_end or not was_own
        return was_own

    def is_wanted(self) -> bool:
        """Say whether the process is to be replaced when it ends."""
        return self._is_wanted

    def _replace(self, is_idle: Callable[[], bool], limit: float) -> None:
        if not is_idle():
            with self._lock:
                self._is_own_signal = True
            os.kill(os.getpid(), signal.SIGTERM)
            # a signal that no thread has taken yet would outlive the exec and end what starts anew (execve(2): pending
            # signals stay, handlers go)
            time.sleep(_PAUSE)
            # not left to the signal's handler: it may be the main thread that hangs
            wait_for_idle(is_idle, limit, self.is_wanted)
        if self._is_wanted:
            self.run_again()

    def run_again(self) -> None:
        """Run this process's command anew in its place; does not return."""
        log.warning("the worker starts anew")
        flush_streams()
        # not closed at once: threads that still wait on them would take that for an error of their own
        for entry in list(Path("/dev/fd").iterdir()):
            descriptor = int(entry.name)
            if descriptor >= _STREAMS:
                try:
                    fcntl.fcntl(descriptor, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
                except OSError:
                    continue  # the one that listed the folder
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - our own command, as it was given


#: This process's own.
REPLACEMENT = Replacement()
