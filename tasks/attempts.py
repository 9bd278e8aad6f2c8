"""One message's work: claim its entries, reconcile them together, then settle each or say when it goes on."""

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import structlog

from ledger.entries import Claim, RetryLater, Settlement, Spends, Ticket
from ledger.lease_keeper import Holding, LeaseKeeper
from ledger.ledger import Ledger
from reconciliation.counters import Counters
from reconciliation.durations import Stage, Stages
from reconciliation.errors import WORKER_LOST, LedgerUnavailable, RelationsMissing, RequestFailed, Server
from reconciliation.events import completion_mid
from reconciliation.failed_topic import FailurePlace
from reconciliation.model import Completion, Debt, DebtStatus, Failed, FinalFailure, Outcome
from reconciliation.personal import traceback_without_learners, without_learners
from reconciliation.reconciling import Reconciling
from tasks.giving_up import Given, chance, give_up, wait
from tasks.isolation import Isolation, Unfinished
from tasks.judging import Judge
from tasks.outcomes import Ended, Ending, Group, Outcomes, ended_for_good, ended_for_now, ended_well
from tasks.retry_policy import RetryRules, decide_crash
from tasks.summary import Summary
from tasks.unacknowledged import acknowledged_for, is_end_of_process
from worker.metrics import WorkerGauges

log = structlog.get_logger(__name__)

#: How long a worker goes on asking a ledger that is away, in seconds. Nothing can be done without it, and an attempt
#: that tells how it ended as soon as the ledger is back is not taken for one that died.
LEDGER_PATIENCE = 3600.0
LEDGER_PAUSE = 0.5

T = TypeVar("T")


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
        stages: what times the steps.
        gauges: what the process shows of itself.
        outcomes: tells how attempts ended; None where the process that waits for this one does.
        now_ms: the clock, in milliseconds since 1970.
        is_stopping: whether the worker was told to end.
        isolation: runs an attempt in a process of its own; None where this is such a process.
        heal: asks for the relation sets of these courses; it fails nobody.

    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        leases: LeaseKeeper,
        reconciler: Reconciling,
        failed_topic: FailurePlace,
        probes: Mapping[Server, Callable[[], None]],
        rules: RetryRules,
        counters: Counters,
        stages: Stages,
        gauges: WorkerGauges,
        outcomes: Outcomes | None,
        now_ms: Callable[[], int],
        is_stopping: Callable[[], bool],
        isolation: Isolation | None,
        heal: Callable[[Iterable[str]], None],
    ) -> None:
        self._ledger = ledger
        self._leases = leases
        self._reconciler = reconciler
        self._failed_topic = failed_topic
        self._judge = Judge(probes, rules, now_ms)
        self._rules = rules
        self._counters = counters
        self._stages = stages
        self._gauges = gauges
        self._outcomes = outcomes
        self._now_ms = now_ms
        self._is_stopping = is_stopping
        self._isolation = isolation
        self._heal = heal

    def run(
        self,
        tickets: Sequence[Ticket],
        *,
        task: str = "",
        token: str | None = None,
        began: Callable[[], object] = lambda: None,
    ) -> Summary:
        """Attempt every entry that these tickets name and that is still to be attempted.

        `task` is the id under which Celery knows them, for the log. `token` goes on with claims that another process
        made under it; `began` is called once they are ours. Raises LedgerUnavailable when the ledger is away for longer
        than an attempt can wait; what was claimed is then attempted again after its lease.
        """
        since = time.monotonic()
        held_by = token or uuid.uuid4().hex
        with self._stages.time(Stage.CLAIM):
            claims = self._patiently(lambda: self._ledger.claim(tickets, held_by, begins=token is not None))
        began()
        by_id = {claim.entry_id: claim for claim in claims}

        def tell(ended: Sequence[Ended]) -> None:
            if self._outcomes is not None:
                self._outcomes.tell(ended, Group(by_id, task, time.monotonic() - since), self._now_ms())

        with self._leases.holding(claims) as holding, self._gauges.running(len(claims)):
            summary = self._attempt(claims, held_by, holding, tell) + Summary(stale=len(tickets) - len(claims))
        # once nobody waits for it any more: the requests go on at their times, whatever becomes of this
        self._heal(
            by_id[it.entry_id].request.enrolment.course_id
            for it in summary.ended
            if it.outcome is Ending.RETRIED and it.code == RelationsMissing.code
        )
        return summary

    def _attempt(
        self, claims: Sequence[Claim], token: str, holding: Holding, tell: Callable[[Sequence[Ended]], None]
    ) -> Summary:
        owed = {claim.entry_id: claim.owed_ms for claim in claims if claim.owed_ms is not None}
        known = [(claim, failure) for claim in claims if (failure := self._known_failure(claim)) is not None]
        owing = self._owing(known, owed)
        known = [(claim, failure) for claim, failure in known if claim.entry_id not in owing]
        condemned = {claim.entry_id for claim, _ in known}
        running = [claim for claim in claims if claim.entry_id not in condemned]
        isolated = [] if self._isolation is None else [claim for claim in running if claim.isolated]
        together = [claim for claim in running if claim not in isolated]
        results = self._reconcile(together, token, holding, owed)
        # settled first: what follows may wait for servers that others' failures are about
        done = [(claim, it) for claim, it in zip(together, results, strict=True) if isinstance(it, Outcome)]
        ended = self._settle_done(done, token, holding)
        tell(ended)
        retries, new = self._judge.judge(together, results)
        elsewhere = Summary()
        for claim in isolated:
            outcome = self._run_isolated(claim, token, holding)
            match outcome:
                case Summary():
                    elsewhere += outcome
                case RetryLater():
                    retries.append(outcome)
                case FinalFailure():
                    new.append((claim, outcome))
                    owed.update(self._owed_now(claim, token, holding))

        owing = self._owing(new, owed)
        for claim, failure in new:
            if claim.entry_id in owing:
                reason = f"its completion is written and owed: {failure.code}: {failure.error}"
                retries.append(wait(claim, failure.code, reason, self._rules))
        known += [(claim, failure) for claim, failure in new if claim.entry_id not in owing]

        def patiently(step: Callable[[], T]) -> T:
            return self._patiently(step, holding)

        given_up = give_up(self._ledger, self._failed_topic, known, token, rules=self._rules, patiently=patiently)
        retries += given_up.waiting
        later = list(elsewhere.ended)
        later += [ended_for_good(claim, failure) for claim, failure in given_up.sent]
        if retries:
            with self._stages.time(Stage.SETTLE):
                are_ours = patiently(lambda: self._ledger.retry(retries, token))
            by_id = {claim.entry_id: claim for claim in claims}
            later += [ended_for_now(by_id[it.entry_id], it) for it, ours in zip(retries, are_ours, strict=True) if ours]
        tell(later)
        return Summary(len(ended) + elsewhere.done, elsewhere.stale, (*ended, *later))

    def _known_failure(self, claim: Claim) -> FinalFailure | None:
        """Give the final failure that an earlier attempt recorded, or that its crashes amount to."""
        if claim.failure is not None:
            return claim.failure
        if claim.crashes >= self._rules.crash_attempts:
            text = f"its attempt ended {claim.crashes} times without a word though nothing ran in its process beside it"
            return FinalFailure(WORKER_LOST, text, claim.attempts + claim.crashes, self._now_ms())
        return None

    def _owing(self, failures: Sequence[Given], owed: Mapping[str, int]) -> set[str]:
        """Tell which of these requests owe a completion that stands in its row: they are never given up.

        The learner's row says completed then, and nobody else would announce it. One whose row can't be read may owe.
        """
        debtors = [claim for claim, _ in failures if claim.entry_id in owed]
        if not debtors:
            return set()
        debts = [Completion(claim.request.enrolment, owed[claim.entry_id]) for claim in debtors]
        standing = self._reconciler.standing(debts)
        return {claim.entry_id for claim, stands in zip(debtors, standing, strict=True) if stands is not False}

    def _owed_now(self, claim: Claim, token: str, holding: Holding) -> dict[str, int]:
        """Give what stands in the ledger as owed by a claim of ours: its lost process may have recorded and written it.

        To claim again under the same token changes nothing and gives the entry as it is.
        """
        ticket = Ticket(claim.entry_id, claim.generation)
        found = self._patiently(lambda: self._ledger.claim([ticket], token), holding)
        return {it.entry_id: it.owed_ms for it in found if it.owed_ms is not None}

    def _run_isolated(self, claim: Claim, token: str, holding: Holding) -> Summary | RetryLater | FinalFailure:
        """Run one attempt in a process of its own, which settles it by itself unless it is lost."""
        assert self._isolation is not None  # noqa: S101 - for the type checker: none is isolated otherwise
        log.warning("an attempt runs in a process of its own", entry=claim.entry_id, crashes=claim.crashes)
        ended = self._isolation(claim, token, holding.touch)
        if isinstance(ended, Summary):
            return ended
        if isinstance(ended, Unfinished):
            return wait(claim, ended.code, ended.reason, self._rules)
        crashes = claim.crashes + 1
        delay = decide_crash(claim.crashes, rules=self._rules, chance=chance())
        if delay is None:
            text = f"its attempt ended its own process {crashes} times: {ended.reason}"
            return FinalFailure(WORKER_LOST, text, claim.attempts + crashes, self._now_ms())
        reason = f"{WORKER_LOST}: {ended.reason}"
        return RetryLater(claim.entry_id, round(delay * 1000), Spends.CRASH, reason, code=WORKER_LOST)

    def _reconcile(
        self, claims: Sequence[Claim], token: str, holding: Holding, owed: dict[str, int]
    ) -> list[Outcome | Failed]:
        """Reconcile these; what they record as owed on the way is added to `owed`."""
        if not claims:
            return []

        def record_debts(debts: Sequence[Debt]) -> Sequence[DebtStatus]:
            owed.update((debt.entry_id, debt.completion.completed_on_ms) for debt in debts)
            return self._patiently(lambda: self._ledger.owe(debts, token), holding)

        try:
            return self._reconciler.reconcile([claim.attempt() for claim in claims], record_debts)
        except LedgerUnavailable:
            raise
        except BaseException as error:
            # what would end the process, or memory that runs out, counts against nobody in company: they go on alone,
            # as after a loss
            if is_end_of_process(error) or (len(claims) > 1 and not acknowledged_for(error)):
                raise
            # an error of our own code or a library's, which nobody foresaw: it spends attempts, so it can't go on for
            # ever
            users = [claim.request.enrolment.user_id for claim in claims]
            trace = traceback_without_learners(error, users)
            log.error("an attempt broke", requests=len(claims), exception=trace)
            failure = RequestFailed(without_learners(f"{type(error).__name__}: {error}", users))
            return [Failed(claim.entry_id, failure) for claim in claims]

    def _settle_done(self, done: Sequence[tuple[Claim, Outcome]], token: str, holding: Holding) -> list[Ended]:
        """Settle what is done; gives those that ended with it.

        Not those whose claims we held no more, nor those that are to be looked at once more: they were marked repeated
        meanwhile, by a bridge that goes back.
        """
        if not done:
            return []
        settlements = [Settlement(it.entry_id, completion_mid(it.paid) if it.paid else None) for _, it in done]
        with self._stages.time(Stage.SETTLE):
            closed = self._patiently(lambda: self._ledger.settle(settlements, token), holding)
        self._counters.success_events.inc(sum(closed))
        return [ended_well(claim, it.verdict) for (claim, it), count in zip(done, closed, strict=True) if count]

    def _patiently(self, step: Callable[[], T], holding: Holding | None = None) -> T:
        """Take a step in the ledger, again and again while its Redis is away.

        Every step may be repeated (see `ledger.ledger`). Raises LedgerUnavailable when the worker is to end, or after
        `LEDGER_PATIENCE` seconds.
        """
        ends = time.monotonic() + LEDGER_PATIENCE
        while True:
            if holding is not None:
                holding.touch()
            try:
                return step()
            except LedgerUnavailable as error:
                if self._is_stopping() or time.monotonic() > ends:
                    raise
                log.debug("the ledger is away, its step is taken again", error=str(error))
            time.sleep(LEDGER_PAUSE)
