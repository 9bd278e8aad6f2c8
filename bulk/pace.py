"""How fast a run submits: a bucket of tokens. Pure: the time, in seconds, comes in as `now`."""

#: How much of a second's tokens a bucket holds: what was not used does not come at once later.
_HOLDS_SECONDS = 0.25
#: How much of a second's tokens must be there for any: one by one, each request would be a message of its own.
_AT_ONCE_SECONDS = 0.1


class SubmissionRate:
    """Says how many requests may be submitted now; without a rate, any number.

    Args:
        rate: the most requests in a second, more than 0; None for as many as the bounds allow.
        now: when the run begins.

    """

    def __init__(self, rate: float | None, now: float) -> None:
        self._rate = rate
        self._most = 1.0 if rate is None else max(1.0, rate * _HOLDS_SECONDS)
        self._least = 1.0 if rate is None else max(1.0, rate * _AT_ONCE_SECONDS)
        self._tokens = self._most
        self._at = now

    def allowed(self, most: int, now: float) -> int:
        """Give how many of `most` may be submitted: as many as a tenth of a second has tokens, or none."""
        if self._rate is None:
            return most
        self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return min(most, int(self._tokens)) if self._tokens >= min(most, self._least) else 0

    def spend(self, requests: int) -> None:
        """Note that so many were submitted."""
        self._tokens -= requests

    def wait(self) -> float:
        """Give the seconds until the next may be submitted, 0 where some may."""
        return 0.0 if self._rate is None else max(0.0, (self._least - self._tokens) / self._rate)
