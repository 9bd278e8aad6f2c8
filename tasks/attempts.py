"""One message's work: claim its entries, reconcile them together, then settle each or say when it goes on."""

import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import structlog

from ledger.entries import Claim, RetryLater, Settlement, Spends, Ticket
from ledger.lease_keeper import LeaseKeeper
from ledger.ledger import Ledger
from reconciliation.counters import Counters
from reconciliation.errors import (
    ClaimLost,
    LedgerUnavailable,
    OutageError,
    ReconciliationError,
    RequestFailed,
    Server,
)
from reconciliation.events import completion_mid
from reconciliation.failed_topic import FailedTopic
from reconciliation.model import Debt, DebtStatus, Failed, FinalFailure, Outcome
from reconciliation.reconciler import Reconciler
from tasks.retry_policy import GiveUp, RetryRules, TryAgain, decide, outage_delay

log = structlog.get_logger(__name__)

#: How long a worker goes on asking a ledger that is away, in seconds. Nothing can be done without it, and an attempt
#: that tells how it ended as soon as the ledger is back is not taken for one that died.
LEDGER_PATIENCE = 3600.0
LEDGER_PAUSE = 0.5

#: What failInfo says of a request that ended its worker's process again and again.
CRASHED = "WORKER_LOST"

Given = tuple[Claim, FinalFailure]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Summary:
    """How a message's entries ended: counts, and for operators the reasons, without any learner's id."""

    done: int
    stale: int
    retried: tuple[str, ...]
    waiting: tuple[str, ...]
    given_up: tuple[str, ...]


class AttemptRunner:
    """Runs the attempts that a message names.

    Args:
        ledger: what is open.
        leases: keeps the claims alive meanwhile.
        reconciler: the domain.
        failed_topic: where final failures go.
        probes: for each server a call that raises while it is away.
        rules: when to try again.
        counters: what is counted on the way.
        now_ms: the clock, in milliseconds since 1970.
        is_stopping: whether the worker was told to end.

    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        leases: LeaseKeeper,
        reconciler: Reconciler,
        failed_topic: FailedTopic,
        probes: Mapping[Server, Callable[[], None]],
        rules: RetryRules,
        counters: Counters,
        now_ms: Callable[[], int],
        is_stopping: Callable[[], bool],
    ) -> None:
        self._ledger = ledger
        self._leases = leases
        self._reconciler = reconciler
        self._failed_topic = failed_topic
        self._probes = probes
        self._rules = rules
        self._counters = counters
        self._now_ms = now_ms
        self._is_stopping = is_stopping

    def run(self, tickets: Sequence[Ticket]) -> Summary:
        """Attempt every entry that these tickets name and that is still to be attempted.

        Raises LedgerUnavailable when the ledger is away for longer than an attempt can wait; what was claimed is then
        attempted again after its lease.
        """
        token = uuid.uuid4().hex
        claims = self._patiently(lambda: self._ledger.claim(tickets, token))
        with self._leases.holding(claims):
            known = [(claim, failure) for claim in claims if (failure := self._known_failure(claim)) is not None]
            condemned = {claim.entry_id for claim, _ in known}
            running = [claim for claim in claims if claim.entry_id not in condemned]
            results = self._reconcile(running, token)
            # settled first: what follows may wait for servers that others' failures are about
            done = [result for result in results if isinstance(result, Outcome)]
            self._settle_done(done, token)
            retries, new = self._judge(running, results)
            sent, unsent = self._give_up([*known, *new], token)
            retries += unsent
            if retries:
                self._patiently(lambda: self._ledger.retry(retries, token))
        return Summary(
            done=len(done),
            stale=len(tickets) - len(claims),
            retried=tuple(later.reason for later in retries if later.spends is Spends.ATTEMPT),
            waiting=tuple(later.reason for later in retries if later.spends is Spends.WAIT),
            given_up=tuple(failure.code for _, failure in sent),
        )

    def _known_failure(self, claim: Claim) -> FinalFailure | None:
        """Give the final failure that an earlier attempt recorded, or that its crashes amount to."""
        if claim.failure is not None:
            return claim.failure
        if claim.crashes >= self._rules.crash_attempts:
            text = f"its attempt ended {claim.crashes} times without a word: the worker's process was lost, or it hung"
            return FinalFailure(CRASHED, text, claim.attempts + claim.crashes, self._now_ms())
        return None

    def _reconcile(self, claims: Sequence[Claim], token: str) -> list[Outcome | Failed]:
        if not claims:
            return []

        def record_debts(debts: Sequence[Debt]) -> Sequence[DebtStatus]:
            return self._patiently(lambda: self._ledger.owe(debts, token))

        try:
            return self._reconciler.reconcile([claim.attempt() for claim in claims], record_debts)
        except LedgerUnavailable:
            raise
        except Exception as error:
            # an error of our own code, which nobody foresaw: it spends attempts, so it can't go on for ever
            log.exception("an attempt broke", requests=len(claims))
            failure = RequestFailed(f"{type(error).__name__}: {error}")
            return [Failed(claim.entry_id, failure) for claim in claims]

    def _judge(
        self, claims: Sequence[Claim], results: Sequence[Outcome | Failed]
    ) -> tuple[list[RetryLater], list[Given]]:
        """Sort the failed attempts into those that go on later and those that are given up."""
        retries: list[RetryLater] = []
        given_up: list[Given] = []
        away: dict[Server, bool] = {}
        for claim, result in zip(claims, results, strict=True):
            if isinstance(result, Outcome) or isinstance(result.error, ClaimLost):
                continue
            error = result.error
            decision = decide(
                error,
                attempts=claim.attempts,
                waits=claim.waits,
                server_away=self._is_away(error, away),
                rules=self._rules,
                chance=_chance(),
            )
            match decision:
                case TryAgain(delay, spends):
                    retries.append(RetryLater(claim.entry_id, round(delay * 1000), spends, f"{error.code}: {error}"))
                case GiveUp(attempts):
                    given_up.append((claim, FinalFailure(error.code, str(error), attempts, self._now_ms())))
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

    def _give_up(self, failures: Sequence[Given], token: str) -> tuple[list[Given], list[RetryLater]]:
        """Record final failures, send their events, settle those that left; says which did and which wait for Kafka."""
        if not failures:
            return [], []
        for claim, failure in failures:
            fields = {"entry": claim.entry_id, "code": failure.code, "error": failure.error}
            log.error("a request is given up", **fields, attempts=failure.attempts)
        pairs = [(claim.entry_id, failure) for claim, failure in failures]
        statuses = self._patiently(lambda: self._ledger.owe_failures(pairs, token))
        ours = [given for given, status in zip(failures, statuses, strict=True) if status is not DebtStatus.LOST]
        reports = self._failed_topic.send([(claim.request.record, failure) for claim, failure in ours])
        sent: list[Given] = []
        unsent: list[RetryLater] = []
        for (claim, failure), report in zip(ours, reports, strict=True):
            if report is None:
                sent.append((claim, failure))
            else:
                delay = outage_delay(claim.waits, rules=self._rules, chance=_chance())
                reason = f"{failure.code}, but its failed event could not be sent: {report}"
                unsent.append(RetryLater(claim.entry_id, round(delay * 1000), Spends.WAIT, reason))
        if sent:
            settlements = [Settlement(claim.entry_id) for claim, _ in sent]
            self._patiently(lambda: self._ledger.settle(settlements, token))
        return sent, unsent

    def _settle_done(self, done: Sequence[Outcome], token: str) -> None:
        if not done:
            return
        settlements = [
            Settlement(outcome.entry_id, completion_mid(outcome.paid) if outcome.paid else None) for outcome in done
        ]
        closed = self._patiently(lambda: self._ledger.settle(settlements, token))
        self._counters.success_events.inc(sum(closed))

    def _patiently(self, step: Callable[[], T]) -> T:
        """Take a step in the ledger, again and again while its Redis is away.

        Every step may be repeated (see `ledger.ledger`). Raises LedgerUnavailable when the worker is to end, or after
        `LEDGER_PATIENCE` seconds.
        """
        ends = time.monotonic() + LEDGER_PATIENCE
        while True:
            try:
                return step()
            except LedgerUnavailable as error:
                if self._is_stopping() or time.monotonic() > ends:
                    raise
                log.debug("the ledger is away, its step is taken again", error=str(error))
            time.sleep(LEDGER_PAUSE)


def _chance() -> float:
    return random.random()  # noqa: S311 - spreads retries, guards nothing
