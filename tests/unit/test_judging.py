"""What a failed attempt waits for, and in whose share."""

import pytest

from ledger.entries import Spends
from reconciliation.errors import (
    PublishFailed,
    ReconciliationError,
    RequestFailed,
    SearchUnavailable,
    Server,
    StoreUnavailable,
)
from reconciliation.model import Failed
from tasks.judging import Judge
from tasks.retry_policy import RetryRules
from tests.unit.test_outcomes import make_claim

RULES = RetryRules(attempts=3, backoff_first=1, backoff_most=10, outage_backoff_most=10, crash_attempts=3)


@pytest.mark.parametrize(
    ("error", "is_away", "spends", "waits_for"),
    [
        (PublishFailed("a right is missing on one topic"), False, Spends.WAIT, "server:Kafka"),
        (PublishFailed("away"), True, Spends.WAIT, ""),
        (StoreUnavailable("away"), True, Spends.WAIT, ""),
        (StoreUnavailable("of this learner alone"), False, Spends.ATTEMPT, "course:do_1"),
        (SearchUnavailable("away"), True, Spends.WAIT, "server:search service"),
        (RequestFailed("broken"), False, Spends.ATTEMPT, "course:do_1"),
    ],
)
def test_what_others_need_not_wait_for_has_a_share_of_its_own(
    error: ReconciliationError, is_away: bool, spends: Spends, waits_for: str
) -> None:
    def probe() -> None:
        if is_away:
            raise error

    judge = Judge(dict.fromkeys(Server, probe), RULES, lambda: 0)
    ((later,), given_up) = judge.judge([make_claim("entry")], [Failed("entry", error)])
    assert (later.spends, later.waits_for, given_up) == (spends, waits_for, [])
