"""When to hold, when to try again, and when to say so. Pure: the time, in seconds, comes in as `now`."""

from dataclasses import dataclass
from enum import StrEnum

from reconciliation.silence import Silence

FIRST_WAIT = 0.1
LONGEST_WAIT = 5.0
#: The longest wait while every server is well: it ends by itself or at a word, and learners wait.
LONGEST_WAIT_FULL = 0.5
#: A full ledger is filled again once this share of its bound is open at most.
RESUME_SHARE = 0.8


class Hold(StrEnum):
    """Why the bridge takes nothing from Kafka for the moment."""

    LEDGER_AWAY = "the ledger's Redis does not answer"
    LEDGER_FULL = "the ledger is full"
    BROKER_AWAY = "Celery's broker does not answer"
    KAFKA_AWAY = "Kafka does not answer"
    FAILED_TOPIC = "Kafka does not confirm failed events"
    TOO_MANY_FAILURES = "too many requests were given up of late"
    OFFSET_TAKEN = "another request is open under a record's offset"
    OPERATOR = "an operator paused it or drains"


#: The holds in which every server is well.
_ALL_WELL = frozenset({Hold.LEDGER_FULL, Hold.TOO_MANY_FAILURES, Hold.OFFSET_TAKEN, Hold.OPERATOR})


@dataclass(frozen=True, slots=True)
class Ended:
    """A hold that is over: why it was and for how many seconds."""

    hold: Hold
    lasted: float


class Pacing:
    """Holds the bridge while something is away or full, with a wait between tries that doubles up to a limit."""

    def __init__(self) -> None:
        self.hold: Hold | None = None
        self._since = 0.0
        self._tries = 0
        self._try_at = 0.0

    def trouble(self, hold: Hold, now: float) -> None:
        """Hold, or go on holding, after a try that failed for this reason."""
        if self.hold is None:
            self._since = now
        if self.hold is not hold:
            self._tries = 0
        self.hold = hold
        longest = LONGEST_WAIT_FULL if hold in _ALL_WELL else LONGEST_WAIT
        self._try_at = now + min(FIRST_WAIT * 2 ** min(self._tries, 10), longest)
        self._tries += 1

    def well(self, now: float) -> Ended | None:
        """End the hold after a try that succeeded; gives what ended, None where nothing was held."""
        if self.hold is None:
            return None
        ended = Ended(self.hold, now - self._since)
        self.hold = None
        self._tries = 0
        return ended

    def may_try(self, now: float) -> bool:
        """Say whether it is time for a try; always while nothing is held."""
        return self.hold is None or now >= self._try_at


class Patience:
    """Says when to ask a silent client whether it reaches its servers, and when to replace one that doesn't.

    Asked every `interval` seconds, it is given `first` seconds of silence before it is replaced; each replacement that
    brought no answer doubles that, up to `longest`, so that an outage of hours makes few of them.
    """

    def __init__(self, interval: float = 10.0, first: float = 20.0, longest: float = 300.0) -> None:
        self._interval = interval
        self._silence = Silence(first, longest)
        self._ask_at: float | None = None
        #: When a server was last reached.
        self.heard_at: float | None = None

    def answered(self, now: float) -> None:
        """Note that the client reached a server."""
        self.heard_at = now
        self._ask_at = now + self._interval
        self._silence.ended()

    def is_due(self, now: float) -> bool:
        """Say whether it is time to ask; not before one interval has passed since the start."""
        if self._ask_at is None:
            self._ask_at = now + self._interval
        return now >= self._ask_at

    def is_over(self, now: float) -> bool:
        """Note that the client was asked and reached none; says whether it is to be replaced now."""
        self._ask_at = now + self._interval
        return self._silence.is_due(now)
