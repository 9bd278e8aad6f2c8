"""Lets through what a library says again and again only at growing intervals."""

import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

#: A text that says the same but for a number (a port, a wait, a count of tries) is the same.
_NUMBER = re.compile(r"\d+")
_LONGEST_KEY = 200
_MOST_KEPT = 500


@dataclass(slots=True)
class _Told:
    """When a message may be told again, after which wait, how often it was held back, and when it came last."""

    next_at: float
    wait: float
    held_back: int
    last_at: float


class NoiseFilter(logging.Filter):
    """Holds repeats back: the first is told, then one after `first` seconds, twice that, and so on up to `longest`.

    What is told again says in `held_back` how often it was not. What did not come for `longest` seconds is told as if
    it were new. `loggers` are the names, with all below them, that this is about; `clock` gives seconds.
    """

    def __init__(
        self,
        loggers: tuple[str, ...],
        first: float = 10.0,
        longest: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._loggers = loggers
        self._below = tuple(f"{name}." for name in loggers)
        self._first = first
        self._longest = longest
        self._clock = clock
        self._lock = threading.Lock()
        self._told: OrderedDict[tuple[str, str], _Told] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether to write the record."""
        if record.name not in self._loggers and not record.name.startswith(self._below):
            return True
        key = (record.name, _sense(record))
        now = self._clock()
        with self._lock:
            told = self._told.get(key)
            if told is None or now - told.last_at > self._longest:
                self._told[key] = _Told(now + self._first, self._first, 0, now)
                self._told.move_to_end(key)
                while len(self._told) > _MOST_KEPT:
                    self._told.popitem(last=False)
                return True
            told.last_at = now
            if now < told.next_at:
                told.held_back += 1
                return False
            held_back, told.held_back = told.held_back, 0
            told.wait = min(2 * told.wait, self._longest)
            told.next_at = now + told.wait
        if held_back:
            record.held_back = held_back
        return True


def _sense(record: logging.LogRecord) -> str:
    """Give what a record says, whatever it is about this time: its template, where it has one."""
    template = str(record.msg)
    if not record.args:
        return _NUMBER.sub("#", template[:_LONGEST_KEY])
    # Kafka's client has one template for everything, which begins with what it is about
    first = record.args[0] if template.startswith("%s") and isinstance(record.args, tuple) else ""
    return f"{template} {first}"[:_LONGEST_KEY]
