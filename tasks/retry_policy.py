"""Decides whether a failed attempt is tried again, when, and at whose expense (docs/reliability.md)."""

from dataclasses import dataclass

from ledger.entries import Spends
from reconciliation.errors import OutageError, PermanentError, PublishFailed, PutOff, ReconciliationError

#: The first wait of an outage, in seconds: it is often over by then.
FIRST_OUTAGE_WAIT = 1.0

#: A wait is drawn from this far below to this far above its nominal length, so that retries spread out.
JITTER = 0.25


@dataclass(frozen=True, slots=True)
class RetryRules:
    """The settings retry.* , outage.* and crash.*; waits in seconds."""

    attempts: int
    backoff_first: float
    backoff_most: float
    outage_backoff_most: float
    crash_attempts: int


@dataclass(frozen=True, slots=True)
class TryAgain:
    """The attempt goes on after `delay` seconds; `spends` says what it is counted as."""

    delay: float
    spends: Spends


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The request goes to the failed topic, after this many attempts."""

    attempts: int


def decide(
    error: ReconciliationError, *, attempts: int, waits: int, server_away: bool, rules: RetryRules, chance: float
) -> TryAgain | GiveUp:
    """Decide what follows a failed attempt.

    `attempts` and `waits` count what was spent before this one; `server_away` is what a probe of the error's server
    said; `chance` is a random number in [0, 1).
    """
    if isinstance(error, PutOff):
        return TryAgain(error.delay, Spends.WAIT)
    if isinstance(error, PermanentError):
        return GiveUp(attempts + 1)
    # what Kafka does not take is owed already, and a debt is never given up: the enrolment says completed
    if isinstance(error, PublishFailed) or (isinstance(error, OutageError) and server_away):
        return TryAgain(outage_delay(waits, rules=rules, chance=chance), Spends.WAIT)
    if attempts + 1 >= rules.attempts:
        return GiveUp(attempts + 1)
    return TryAgain(_backoff(attempts, rules.backoff_first, rules.backoff_most, chance), Spends.ATTEMPT)


def decide_crash(crashes: int, *, rules: RetryRules, chance: float) -> float | None:
    """Give the seconds to wait after an attempt that ended its own process; None when the request is given up.

    `crashes` counts those before this one.
    """
    if crashes + 1 >= rules.crash_attempts:
        return None
    return _backoff(crashes, rules.backoff_first, rules.backoff_most, chance)


def outage_delay(waits: int, *, rules: RetryRules, chance: float) -> float:
    """Give the seconds to wait for a server that has been away for so many tries already."""
    return _backoff(waits, FIRST_OUTAGE_WAIT, rules.outage_backoff_most, chance)


def _backoff(count: int, first: float, most: float, chance: float) -> float:
    """Double the first wait `count` times, up to the longest, and spread it.

    The exponent is capped so that a request that waits for days can't overflow it.
    """
    spread = 1 - JITTER + 2 * JITTER * chance
    return float(min(first * 2 ** min(count, 30), most)) * spread
