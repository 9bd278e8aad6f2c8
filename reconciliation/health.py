"""What tells a process that is at work from one that is stuck (docs/health.md). Pure: the time comes in as `now`."""

from typing import Protocol


class Health(Protocol):
    """What a process says of itself: lists of reasons against it, empty where there is none. `now` is in seconds."""

    def against_life(self, now: float) -> list[str]:
        """Say why only a new start could help this process."""

    def against_readiness(self, now: float) -> list[str]:
        """Say why this process can't do its work for the moment."""


class Heartbeat:
    """Remembers when something that should come again and again last came. One thread beats, others may ask.

    Args:
        limit: how long it may stay away, in seconds.
        now: the time in seconds, from a clock that never goes back; it counts as a first beat.

    """

    def __init__(self, limit: float, now: float) -> None:
        self.limit = limit
        self._last = now

    def beat(self, now: float) -> None:
        """Note that it came; one that is older than the last is passed over."""
        self._last = max(self._last, now)

    def silence(self, now: float) -> float:
        """Say for how many seconds it has stayed away."""
        return max(0.0, now - self._last)

    def is_late(self, now: float) -> bool:
        """Say whether it has stayed away for too long."""
        return self.silence(now) > self.limit
