"""Waiting for conditions, never for time alone."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: How long a wait may take unless the test says otherwise, in seconds.
USUAL_LIMIT = 40.0

_PAUSE_SECONDS = 0.03


def wait_until(what: str, look: Callable[[], T], limit: float = USUAL_LIMIT) -> T:
    """Call `look` until it gives something true, and return that.

    `look` may raise to end the waiting at once. Raises AssertionError after `limit` seconds, with what was last seen.
    """
    deadline = time.monotonic() + limit
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {limit:.0f} s (last seen: {seen!r})")
        time.sleep(_PAUSE_SECONDS)
