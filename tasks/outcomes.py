"""Tells how requests' attempts ended: in metrics, and in a log line each (docs/metrics.md)."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ledger.entries import Claim, RetryLater, Spends
from reconciliation.bulk_origin import is_of_run
from reconciliation.counters import Retries
from reconciliation.durations import RequestAges, RequestEnd
from reconciliation.log_rows import Row, write_rows
from reconciliation.model import FinalFailure, Verdict
from reconciliation.personal import ShowIds, without_learners

log = logging.getLogger(__name__)


class Ending(StrEnum):
    """How an attempt left its request."""

    DONE = "done"
    RETRIED = "retried"
    WAITING = "waiting"
    GIVEN_UP = "given up"


@dataclass(frozen=True, slots=True)
class Ended:
    """How one request's attempt ended.

    `attempts` counts this one and those before it that were its own. `verdict` is that of a request that is done; of
    any other there are `code` and `reason`, without the learner's id, and of one that goes on what it `spends`.
    """

    entry_id: str
    outcome: Ending
    attempts: int
    verdict: str = ""
    code: str = ""
    reason: str = ""
    spends: str = ""


def ended_well(claim: Claim, verdict: Verdict) -> Ended:
    """Say that a request is done."""
    return Ended(claim.entry_id, Ending.DONE, _attempts(claim), verdict=verdict.value)


def ended_for_now(claim: Claim, later: RetryLater) -> Ended:
    """Say that a request goes on later."""
    outcome = Ending.WAITING if later.spends is Spends.WAIT else Ending.RETRIED
    reason = without_learners(later.reason, (claim.request.enrolment.user_id,))
    return Ended(
        claim.entry_id, outcome, _attempts(claim), code=later.code, reason=reason, spends=later.spends.name.lower()
    )


def ended_for_good(claim: Claim, failure: FinalFailure) -> Ended:
    """Say that a request is given up and lies on the failed topic."""
    # also what an older release has recorded
    reason = without_learners(failure.error, (claim.request.enrolment.user_id,))
    return Ended(claim.entry_id, Ending.GIVEN_UP, failure.attempts, code=failure.code, reason=reason)


def _attempts(claim: Claim) -> int:
    return claim.attempts + claim.crashes + 1


@dataclass(frozen=True, slots=True)
class Group:
    """What the requests of a message share in the log: the task that carried them, and how long they have taken."""

    claims: Mapping[str, Claim]
    task: str
    seconds: float


class Outcomes:
    """Tells how the attempts of one process ended.

    Args:
        ages: takes the ages of requests that ended for good.
        retries: counts the others.
        show_ids: shows an enrolment in a line, as `log.enrolment.ids` says.
        is_each_told: `log.requests`, whether each request that is done or retried has a line.
        on_end: called when requests ended for good.

    """

    def __init__(
        self,
        *,
        ages: RequestAges,
        retries: Retries,
        show_ids: ShowIds,
        is_each_told: bool,
        on_end: Callable[[], object],
    ) -> None:
        self._ages = ages
        self._retries = retries
        self._show_ids = show_ids
        self._is_each_told = is_each_told
        self._on_end = on_end

    def tell(self, ended: Sequence[Ended], group: Group, now_ms: int) -> None:
        """Count these endings, and log those that have a line of their own; `now_ms` is the time of their end."""
        done = [it for it in ended if it.outcome is Ending.DONE]
        failed = [it for it in ended if it.outcome is Ending.GIVEN_UP]
        later = [it for it in ended if it.outcome in (Ending.RETRIED, Ending.WAITING)]
        self._ages.ended(RequestEnd.DONE, _ages(done, group, now_ms))
        self._ages.ended(RequestEnd.FAILED, _ages(failed, group, now_ms))
        if done or failed:
            self._on_end()
        for it in later:
            self._retries.add(it.code, it.spends)
        # what waits for a server has none: in an outage that is everything, and the task's line says so
        retried = [it for it in later if it.outcome is Ending.RETRIED]
        for level, endings in ((logging.INFO, done), (logging.WARNING, retried), (logging.ERROR, failed)):
            if endings and log.isEnabledFor(level) and self.is_told(level):
                write_rows(log, level, "a request ended", [self._row(it, group, now_ms) for it in endings])

    def is_told(self, level: int) -> bool:
        """Say whether requests that end with this level of `logging` have lines of their own."""
        return self._is_each_told or level >= logging.ERROR

    def _row(self, ended: Ended, group: Group, now_ms: int) -> Row:
        claim = group.claims[ended.entry_id]
        row: dict[str, str | int | float] = {"task": group.task, "entry": ended.entry_id}
        row["outcome"] = ended.outcome.value
        if ended.verdict:
            row["verdict"] = ended.verdict
        else:
            row |= {"code": ended.code, "reason": ended.reason.removeprefix(f"{ended.code}: ")}
        row |= {"attempts": ended.attempts, "seconds": round(group.seconds, 3)}
        age = _age(claim, now_ms)
        if age is not None:
            row["age"] = round(age, 3)
        return row | self._show_ids(claim.request.enrolment)


def _ages(ended: Sequence[Ended], group: Group, now_ms: int) -> list[float]:
    ages = (_age(group.claims[it.entry_id], now_ms) for it in ended)
    return [age for age in ages if age is not None]


def _age(claim: Claim, now_ms: int) -> float | None:
    """Give the seconds since the click, None where Kafka does not know its time; another host's clock may be ahead.

    None too where a bulk run asked first: nobody waits for that, and it waits for all clicks.
    """
    clicked_ms = 0 if is_of_run(claim.request.record.origin) else claim.request.record.origin.timestamp_ms
    return None if clicked_ms <= 0 else max(0, now_ms - clicked_ms) / 1000
