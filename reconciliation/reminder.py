"""Lets what would be told again and again through at growing intervals. Pure: the time comes in as `now`."""


class Reminder:
    """Lets a message that would come again and again through at growing intervals."""

    def __init__(self, first: float = 10.0, longest: float = 300.0) -> None:
        self._first = first
        self._longest = longest
        self._waits: dict[str, tuple[float, float]] = {}

    def due(self, what: str, now: float) -> bool:
        """Say whether to tell `what` now; the first time always."""
        next_at, wait = self._waits.get(what, (now, self._first))
        if now < next_at:
            return False
        self._waits[what] = (now + wait, min(wait * 2, self._longest))
        return True

    def reset(self) -> None:
        """Forget what was told: it is over."""
        self._waits.clear()
