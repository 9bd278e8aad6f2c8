"""When to do something about somebody who does not answer. Pure: the time comes in as `now`."""


class Silence:
    """How long nobody has answered, and whether that is too long.

    Args:
        first: how long after its beginning something is due, in seconds.
        longest: how long that may come to be; it doubles each time.

    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._wait = 0.0
        self._due_at = 0.0

    def is_due(self, now: float) -> bool:
        """Note that nobody answered, and say whether something is to be done about it; once each time."""
        if not self._wait:
            self._wait, self._due_at = self._first, now + self._first
            return False
        if now < self._due_at:
            return False
        self._wait = min(2 * self._wait, self._longest)
        self._due_at = now + self._wait
        return True

    def ended(self) -> None:
        """Note an answer."""
        self._wait = 0.0
