"""Waits for servers that are away, and keeps to a rate. Both are bounded, and end when nobody waits any more."""

import time
from collections.abc import Callable
from typing import TypeVar

from reconciliation.errors import OutageError, ReconciliationError, ScanFailed, Server

T = TypeVar("T")

_LOOK_AT = {
    Server.CASSANDRA: "is it up, and is lms-cassandra.timeout (LMS_CASSANDRA_TIMEOUT) long enough for a page?",
    Server.REDIS: "is it up, and do redis.host (REDIS_HOST) and redis.port (REDIS_PORT) name it?",
    Server.SEARCH: "is it up, and does service.search.basePath (SERVICE_SEARCH_BASEPATH) name it?",
}
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0


class Patience:
    """Tries again while a server is away, with growing pauses.

    Args:
        limit: how long it may be away, in seconds.
        tell: takes a sentence for people when a wait begins.
        pause: waits this many seconds; it may raise to end everything.
        clock: gives seconds that never go back.

    """

    def __init__(
        self,
        limit: float,
        tell: Callable[[str], object],
        pause: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = limit
        self._tell = tell
        self._pause = pause
        self._clock = clock

    def insist(self, what: str, attempt: Callable[[], T]) -> T:
        """Give what `attempt` gives, which is called again for as long as it raises an OutageError.

        `what` says what is being done, for the error. Raises ScanFailed at the end of our patience, and where `attempt`
        raises another ReconciliationError.
        """
        began = self._clock()
        delay = _FIRST_PAUSE
        while True:
            try:
                return attempt()
            except OutageError as error:
                if self._clock() - began >= self._limit:
                    raise ScanFailed(
                        f"{what}: tried for {self._limit:g} s: {error}; {_LOOK_AT.get(error.server, 'is it up?')}"
                    ) from error
                if delay == _FIRST_PAUSE:
                    self._tell(f"waiting for {error.server}: {what}: {error}")
            except ReconciliationError as error:
                raise ScanFailed(f"{what}: {error}") from error
            self._pause(delay)
            delay = min(delay * 2, _LONGEST_PAUSE)


class ScanRate:
    """Keeps to a rate: `spend` returns once so much more may have been done.

    `most_per_second` None is no bound. What was not used of a second is not saved up.
    """

    def __init__(
        self,
        most_per_second: float | None,
        pause: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = most_per_second
        self._pause = pause
        self._clock = clock
        self._free_at = clock()

    def spend(self, count: float) -> None:
        """Wait until the work before this one is within the rate, and count this one."""
        if self._rate is None:
            return
        now = self._clock()
        if self._free_at > now:
            self._pause(self._free_at - now)
        self._free_at = max(self._free_at, now) + count / self._rate

    def portion(self, most: int) -> int:
        """Give how much to do at once: `most`, or what a second allows where that is less."""
        return most if self._rate is None else max(1, min(most, int(self._rate)))
