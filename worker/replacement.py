"""Replaces a worker's process in which an attempt hangs: a thread can't be ended, the process that it is in can.

The process runs its own command again under the same process id, so that no supervisor is needed for it. Celery's own
restart on SIGHUP waits for the pool first (celery/apps/worker.py, install_worker_restart_handler), so for ever here.
"""

import fcntl
import os
import signal
import sys
import threading
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

_STREAMS = 3


class Replacement:
    """Whether this process is to be replaced. Made once a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_wanted = False
        self._is_own_signal = False
        self._is_pool_child = False

    def in_pool_child(self) -> None:
        """Note that this process is a child of a pool, which starts another when it ends."""
        self._is_pool_child = True

    def want(self) -> None:
        """Have the process replaced: it is told to end in order, as an operator would tell it."""
        if self._is_pool_child:
            os._exit(1)
        with self._lock:
            if self._is_wanted:
                return
            self._is_wanted = self._is_own_signal = True
        log.error("an attempt hangs: this worker starts anew as soon as its other attempts have ended")
        os.kill(os.getpid(), signal.SIGTERM)

    def heard(self) -> None:
        """Note a signal to end; one that is not our own means that an operator wants the worker gone."""
        with self._lock:
            if not self._is_own_signal:
                self._is_wanted = False
            self._is_own_signal = False

    def is_wanted(self) -> bool:
        """Say whether the process is to be replaced when it ends."""
        return self._is_wanted

    def run_again(self) -> None:
        """Run this process's command anew in its place; does not return."""
        log.warning("the worker starts anew")
        sys.stdout.flush()
        sys.stderr.flush()
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
