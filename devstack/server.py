"""What the servers have in common: start, wait until a real request is answered, fault, end."""

import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from devstack.errors import DevstackError, StartCancelledError
from devstack.ports import HOST, Ports, holder_of, is_answering, is_free
from devstack.process import DetachedProcess
from devstack.security import Security

_PAUSE_SECONDS = 0.1
# A busy machine must not make a healthy server look dead: `up` would end it.
_ANSWER_LIMIT_SECONDS = 15.0
_FIRST_ANSWER_LIMIT_SECONDS = 5.0
# What Java and Redis write when the machine has no room for them.
_OUT_OF_MEMORY = ("OutOfMemoryError", "insufficient memory", "Could not reserve enough space", "Cannot allocate memory")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stack lives: `directory` holds its data, `cache` the packages that all stacks share.

    With a `security` its servers ask for a user and for TLS. `as_in_production` is for measuring, see `Stack`.
    """

    directory: Path
    cache: Path
    ports: Ports
    security: Security | None = None
    as_in_production: bool = False


def unheard(_message: str) -> None:
    """Take a step's report where nobody listens."""


class Server(ABC):
    """One server of a stack. Tests of faults use `kill`, `stop`, `resume`, `start` and `pid`."""

    name: ClassVar[str]
    start_limit: ClassVar[float] = 90.0
    end_limit: ClassVar[float] = 20.0

    def __init__(self, place: Place, port: int) -> None:
        self.place = place
        self.port = port
        self.folder = place.directory / self.name
        self.process = DetachedProcess(self.folder)

    @abstractmethod
    def prepare(self, report: Callable[[str], None]) -> None:
        """Put in place what the server's program needs; raises DevstackError when that can't be had."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Write the configuration and return the command line, its first item a path."""

    @abstractmethod
    def request(self, limit: float) -> None:
        """Make a real request; raises any exception unless it was answered within about `limit` seconds."""

    @property
    def pid(self) -> int | None:
        """The process's id while it runs, else None."""
        return self.process.pid

    def answers(self, limit: float = _ANSWER_LIMIT_SECONDS) -> bool:
        """Tell whether the server answers a real request within about `limit` seconds."""
        if self.pid is None or not is_answering(self.port):
            return False
        try:
            self.request(limit)
        except Exception:  # noqa: BLE001 - each driver has its own exceptions, and all mean the same here: not ready
            return False
        return True

    def start(self, report: Callable[[str], None] = unheard, cancelled: threading.Event | None = None) -> None:
        """Start the server, which must not run, and return when it has answered a real request.

        `report` is told of each step. `cancelled`, once set, ends the waiting with StartCancelledError. Raises
        DevstackError with the reason, the end of the log and the next step when the server doesn't come up; its
        process is gone then.
        """
        if not is_free(self.port):
            raise DevstackError(
                self.name,
                f"port {self.port} on {HOST} is taken by {holder_of(self.port)}",
                f"End that process, or choose another port: DEVSTACK_{self.name.upper()}_PORT=… (then start again).",
            )
        self.prepare(report)
        self.folder.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        self.process.spawn(self.command())
        report(f"starting on {HOST}:{self.port}")
        try:
            self._wait_ready(began + self.start_limit, cancelled or threading.Event())
        except BaseException:
            self.process.end(limit=1.0)
            raise
        report(f"ready on {HOST}:{self.port} after {time.monotonic() - began:.1f} s")

    def end(self) -> None:
        """End the server in order (SIGTERM, after a limit SIGKILL) and wait until it is gone."""
        self.process.end(self.end_limit)

    def kill(self) -> None:
        """Kill the server at once (SIGKILL) and wait until it is gone."""
        self.process.kill()

    def stop(self) -> None:
        """Freeze the server (SIGSTOP): its port still accepts connections, nothing is answered from here on."""
        self.process.freeze()

    def resume(self) -> None:
        """Let a frozen server go on (SIGCONT)."""
        self.process.send(signal.SIGCONT)

    def _wait_ready(self, deadline: float, cancelled: threading.Event) -> None:
        while not self.answers(_FIRST_ANSWER_LIMIT_SECONDS):
            if self.pid is None:
                ending = self.process.how_it_ended()
                raise DevstackError(
                    self.name, f"it ended while starting ({ending or 'how is not known'})", self._advice(), self._tail()
                )
            if time.monotonic() > deadline:
                reason = f"it answered no request within {self.start_limit:.0f} s"
                raise DevstackError(self.name, reason, self._advice(), self._tail())
            if cancelled.wait(_PAUSE_SECONDS):
                raise StartCancelledError

    def _advice(self) -> str:
        log = self.process.log_tail(60)
        if "SIGKILL" in self.process.how_it_ended() or any(sign in log for sign in _OUT_OF_MEMORY):
            return "Free some memory (the three servers together want about 2.5 GB), then start again."
        if "already in use" in log:
            return f"Another process took one of its ports. Start again, or set DEVSTACK_{self.name.upper()}_PORT."
        return f"Read {self.process.log}. `python -m devstack down --delete` removes data that can't be read."

    def _tail(self) -> str:
        return self.process.log_tail()
