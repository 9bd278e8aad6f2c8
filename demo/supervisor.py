"""Runs one command and starts it again when it ends unasked: `python -m demo.supervisor COMMAND …`.

What an operator's container runtime does for workers (docs/reliability.md, stopping), small.
"""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType

_PAUSE_SECONDS = 1.0
_QUICK_END_SECONDS = 10.0
_MOST_QUICK_ENDS = 5


class Supervisor:
    """Keeps one child process running until it is told to end."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._asked = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._told: subprocess.Popen[bytes] | None = None

    def ask(self, _number: int, _frame: FrameType | None) -> None:
        """Handle SIGTERM: end the child in order, and start no other."""
        self._asked.set()
        self._tell()

    def run(self) -> int:
        """Run the child for as long as wanted; returns the last one's exit code."""
        quick_ends = 0
        code = 0
        while not self._asked.is_set():
            began = time.monotonic()
            self._child = subprocess.Popen(self._command)
            if self._asked.is_set():
                # the signal came before there was a child to pass it on to
                self._tell()
            code = self._child.wait()
            if self._asked.is_set():
                break
            print(f"supervisor: ended unasked with {code}, starting it again", file=sys.stderr, flush=True)
            quick_ends = quick_ends + 1 if time.monotonic() - began < _QUICK_END_SECONDS else 0
            if quick_ends >= _MOST_QUICK_ENDS:
                print("supervisor: it ends as soon as it starts, giving up", file=sys.stderr, flush=True)
                break
            self._asked.wait(_PAUSE_SECONDS)
        return code

    def _tell(self) -> None:
        # once only: Celery takes a second SIGTERM for an order to drop its work
        child = self._child
        if child is not None and child is not self._told:
            self._told = child
            child.terminate()


if __name__ == "__main__":
    supervisor = Supervisor(sys.argv[1:])
    signal.signal(signal.SIGTERM, supervisor.ask)
    code = supervisor.run()
    # as a shell tells of a signal
    sys.exit(code if code >= 0 else 128 - code)
