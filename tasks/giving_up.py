"""Gives requests up: the failure is recorded, then its event is sent, and only then the entry ends."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import structlog

from ledger.entries import Claim, FailureStatus, RetryLater, Settlement, Spends
from ledger.ledger import Ledger
from reconciliation.failed_topic import FailurePlace
from reconciliation.model import FinalFailure
from tasks.retry_policy import RetryRules, outage_delay

log = structlog.get_logger(__name__)

Given = tuple[Claim, FinalFailure]
T = TypeVar("T")


class Patiently(Protocol):
    """Takes a step in the ledger, again and again while its Redis is away."""

    def __call__(self, step: Callable[[], T], /) -> T:
        """Give what the step gave. Raises LedgerUnavailable when it is no use to wait any longer."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """What became of final failures: those whose events Kafka confirmed, and those that go on waiting."""

    sent: tuple[Given, ...]
    waiting: tuple[RetryLater, ...]


def give_up(
    ledger: Ledger,
    failed_topic: FailurePlace,
    failures: Sequence[Given],
    token: str,
    *,
    rules: RetryRules,
    patiently: Patiently,
) -> GivenUp:
    """Record final failures of claims held by `token`, send their events and settle those that left.

    What the ledger holds back, because too many were given up of late, waits and is attempted again; so does what
    Kafka does not take. Raises LedgerUnavailable as `patiently` does.
    """
    if not failures:
        return GivenUp((), ())
    pairs = [(claim.entry_id, failure) for claim, failure in failures]
    statuses = patiently(lambda: ledger.fail(pairs, token))
    ours = [given for given, status in zip(failures, statuses, strict=True) if status is FailureStatus.OWED]
    held = [given for given, status in zip(failures, statuses, strict=True) if status is FailureStatus.HELD]
    waiting = [
        wait(claim, failure.code, f"{failure.code}: {failure.error}; held back (failures.max.per.minute)", rules)
        for claim, failure in held
    ]
    if held:
        log.error(
            "too many requests fail: nothing is given up for a while, and the bridge takes nothing",
            held=len(held),
            code=held[0][1].code,
            error=held[0][1].error,
            next_step="mend what makes them fail; failures.max.per.minute is the limit",
        )
    reports = failed_topic.send([(claim.request.record, failure) for claim, failure in ours])
    sent: list[Given] = []
    for (claim, failure), report in zip(ours, reports, strict=True):
        if report is None:
            sent.append((claim, failure))
        else:
            reason = f"{failure.code}, but its failed event could not be sent: {report}"
            waiting.append(wait(claim, report.code, reason, rules))
    if sent:
        patiently(lambda: ledger.settle([Settlement(claim.entry_id, given_up=True) for claim, _ in sent], token))
    return GivenUp(tuple(sent), tuple(waiting))


def chance() -> float:
    """Give a random number in [0, 1) that spreads retries."""
    return random.random()  # noqa: S311 - guards nothing


def wait(claim: Claim, code: str, reason: str, rules: RetryRules) -> RetryLater:
    """Have a request wait as for a server that is away: it spends nothing, and is attempted again."""
    delay = outage_delay(claim.waits, rules=rules, chance=chance())
    return RetryLater(claim.entry_id, round(delay * 1000), Spends.WAIT, reason, code=code)
