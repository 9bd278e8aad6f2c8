import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.entries import Spends
from reconciliation.errors import (
    CompletionSwallowed,
    EventTooLarge,
    InvalidRequest,
    PublishFailed,
    PutOff,
    ReconciliationError,
    RelationsMissing,
    RequestFailed,
    SearchUnavailable,
    StoreUnavailable,
)
from tasks.retry_policy import GiveUp, RetryRules, TryAgain, decide, outage_delay

RULES = RetryRules(attempts=4, backoff_first=5, backoff_most=30, outage_backoff_most=20, crash_attempts=3)
MIDDLE = 0.5  # of the chance: the nominal wait


@pytest.mark.parametrize(
    ("error", "attempts", "waits", "away", "expected"),
    [
        (InvalidRequest("x"), 0, 0, False, GiveUp(1)),
        (EventTooLarge("x"), 2, 0, True, GiveUp(3)),
        (RequestFailed("x"), 0, 0, False, TryAgain(5, Spends.ATTEMPT)),
        (RelationsMissing("x"), 1, 9, False, TryAgain(10, Spends.ATTEMPT)),
        (CompletionSwallowed("x"), 2, 0, True, TryAgain(20, Spends.ATTEMPT)),
        (RequestFailed("x"), 3, 0, False, GiveUp(4)),
        (RequestFailed("x"), 9, 0, False, GiveUp(10)),
        (StoreUnavailable("x"), 3, 0, True, TryAgain(1, Spends.WAIT)),
        (StoreUnavailable("x"), 3, 3, True, TryAgain(8, Spends.WAIT)),
        (PublishFailed("x"), 0, 5000, True, TryAgain(20, Spends.WAIT)),
        (PublishFailed("x"), 9, 0, False, TryAgain(1, Spends.WAIT)),
        (PutOff("x", 42.5), 3, 9, False, TryAgain(42.5, Spends.WAIT)),
        (SearchUnavailable("x"), 0, 7, False, TryAgain(5, Spends.ATTEMPT)),
        (SearchUnavailable("x"), 3, 7, False, GiveUp(4)),
    ],
)
def test_the_error_s_class_decides(
    error: ReconciliationError, attempts: int, waits: int, away: bool, expected: TryAgain | GiveUp
) -> None:
    decision = decide(error, attempts=attempts, waits=waits, server_away=away, rules=RULES, chance=MIDDLE)
    assert decision == expected


@given(waits=st.integers(0, 10**9), chance=st.floats(0, 1, exclude_max=True))
def test_an_outage_is_waited_for_without_end_and_never_longer_than_its_cap(waits: int, chance: float) -> None:
    decision = decide(StoreUnavailable("x"), attempts=10**6, waits=waits, server_away=True, rules=RULES, chance=chance)
    assert isinstance(decision, TryAgain)
    assert decision.spends is Spends.WAIT
    assert 0.75 <= decision.delay <= 20 * 1.25


def test_retries_spread_out() -> None:
    delays = {outage_delay(3, rules=RULES, chance=chance / 10) for chance in range(10)}
    assert len(delays) == 10
    assert min(delays) == 6
    assert max(delays) < 10
