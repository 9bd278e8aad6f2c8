"""Sorts failed attempts into those that go on later and those that are given up (docs/reliability.md)."""

from collections.abc import Callable, Mapping, Sequence

from ledger.entries import Claim, RetryLater, Spends
from reconciliation.errors import ClaimLost, OutageError, ReconciliationError, Server
from reconciliation.model import Failed, FinalFailure, Outcome
from reconciliation.personal import without_learners
from tasks.giving_up import Given, chance
from tasks.retry_policy import GiveUp, RetryRules, TryAgain, decide


class Judge:
    """Judges the failures of a group.

    Args:
        probes: for each server a call that raises while it is away.
        rules: when to try again.
        now_ms: the clock, in milliseconds since 1970.

    """

    def __init__(
        self, probes: Mapping[Server, Callable[[], None]], rules: RetryRules, now_ms: Callable[[], int]
    ) -> None:
        self._probes = probes
        self._rules = rules
        self._now_ms = now_ms

    def judge(
        self, claims: Sequence[Claim], results: Sequence[Outcome | Failed]
    ) -> tuple[list[RetryLater], list[Given]]:
        """Sort the attempts that failed; a claim that was lost is another attempt's.

        The reasons carry no learner's id: they reach logs, Flower and the ledger.
        """
        retries: list[RetryLater] = []
        given_up: list[Given] = []
        away: dict[Server, bool] = {}
        for claim, result in zip(claims, results, strict=True):
            if isinstance(result, Outcome) or isinstance(result.error, ClaimLost):
                continue
            error = result.error
            text = without_learners(str(error), (claim.request.enrolment.user_id,))
            is_away = self._is_away(error, away)
            decision = decide(
                error,
                attempts=claim.attempts,
                waits=claim.waits,
                server_away=is_away,
                rules=self._rules,
                chance=chance(),
            )
            match decision:
                case TryAgain(delay, spends):
                    reason = f"{error.code}: {text}"
                    waits_for = _waits_for(claim, error, spends, is_away=is_away)
                    delay_ms = round(delay * 1000)
                    retries.append(RetryLater(claim.entry_id, delay_ms, spends, reason, waits_for, error.code))
                case GiveUp(attempts):
                    given_up.append((claim, FinalFailure(error.code, text, attempts, self._now_ms())))
        return retries, given_up

    def _is_away(self, error: ReconciliationError, away: dict[Server, bool]) -> bool:
        """Probe the server that the error names, once for all of a group's errors."""
        if not isinstance(error, OutageError):
            return False
        if error.server not in away:
            try:
                self._probes[error.server]()
                away[error.server] = False
            except ReconciliationError:
                away[error.server] = True
        return away[error.server]


def _waits_for(claim: Claim, error: ReconciliationError, spends: Spends, *, is_away: bool) -> str:
    """Name the one course or server that a request waits for while others need not.

    Without Cassandra, Redis or Kafka nobody gets on: what waits for these counts towards the ledger's bound. A Kafka
    that answers, and yet does not take an event, keeps back completions alone, or some of them: a topic may lack a
    right, or a partition its leader.
    """
    if spends is Spends.ATTEMPT:
        return f"course:{claim.request.enrolment.course_id}"
    if isinstance(error, OutageError) and (
        error.server is Server.SEARCH or (error.server is Server.KAFKA and not is_away)
    ):
        return f"server:{error.server}"
    return ""
