"""Lets what is in hand end in order when an operator interrupts a command that writes."""

import signal
import time
from types import FrameType, TracebackType
from typing import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SLICE_SECONDS = 0.1


class Interruption:
    """Notes Ctrl-C and SIGTERM while the block runs; the second one ends the process at once.

    Usable in the main thread alone.
    """

    def __init__(self) -> None:
        self.is_asked = False

    def __enter__(self) -> Self:
        self._earlier = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    def pause(self, seconds: float) -> None:
        """Wait so long, or until it is asked for."""
        ends = time.monotonic() + seconds
        while not self.is_asked and (left := ends - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE_SECONDS))

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self.is_asked:
            raise KeyboardInterrupt
        self.is_asked = True
