"""Waiting for conditions, never for time alone."""

import time
from collections.abc import Callable
from typing import Literal, TypeVar

T = TypeVar("T")

#: How long a wait may take unless the test says otherwise, in seconds.
USUAL_LIMIT = 40.0

_SHORTEST_PAUSE = 0.03
_LONGEST_PAUSE = 0.25
#: Looking takes a tenth of the time at most, and a look comes late by a tenth of what was waited: the processes that
#: are waited for need the processors.
_TENTH = 0.1


def wait_until(what: str, look: Callable[[], T | Literal[False] | None], limit: float = USUAL_LIMIT) -> T:
    """Call `look` until it gives something true, and return that.

    `look` may raise to end the waiting at once. Raises AssertionError after `limit` seconds, with what was last seen.
    """
    began = time.monotonic()
    while True:
        looked = time.monotonic()
        seen = look()
        if seen:
            return seen
        now = time.monotonic()
        if now > began + limit:
            raise AssertionError(f"{what}: not within {limit:.0f} s (last seen: {seen!r})")
        time.sleep(pause_after(now - looked, now - began))


def pause_after(look: float, waited: float) -> float:
    """Say how long to wait for the next look: after one that took `look` seconds, `waited` seconds after the first."""
    return min(max(_SHORTEST_PAUSE, look / _TENTH, waited * _TENTH), _LONGEST_PAUSE)
