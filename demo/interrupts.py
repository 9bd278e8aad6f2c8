"""Turns Ctrl-C, SIGTERM and a closed terminal into one exception, which waits where it would do harm."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """Raises KeyboardInterrupt in the main thread when one of the three signals comes, unless shielded."""

    def __init__(self) -> None:
        self._shields = 0
        self._pending = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._handle)

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Put an interruption off until the block has ended, so that nothing is started and not noted down."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
        if self._pending and not self._shields:
            self._pending = False
            raise KeyboardInterrupt

    def ignore(self) -> None:
        """Let nothing interrupt what follows: it puts everything away, and each of its waits has a limit."""
        self._shields += 1

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._shields:
            self._pending = True
            return
        raise KeyboardInterrupt
