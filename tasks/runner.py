"""Makes an `AttemptRunner` from a process's connections."""

import time
from collections.abc import Callable, Iterable

from reconciliation.personal import id_fields
from tasks.attempts import AttemptRunner
from tasks.isolation import OwnProcess
from tasks.outcomes import Outcomes
from tasks.retry_policy import RetryRules
from worker.connections import STOPPING, Connections


def make_runner(
    connections: Connections, *, is_isolated: bool = False, is_stopping: Callable[[], bool] = STOPPING.is_set
) -> AttemptRunner:
    """Give what runs attempts here.

    `is_isolated` says that this process is one attempt's own, `is_stopping` when to wait for the ledger no longer.
    """
    settings, metrics = connections.settings, connections.metrics
    healing = connections.answering.healing
    outcomes = Outcomes(
        ages=metrics.ages,
        retries=metrics.retries,
        show_ids=id_fields(settings.log_enrolment_ids),
        is_each_told=settings.log_requests,
        on_end=metrics.gauges.progressed,
    )
    return AttemptRunner(
        ledger=connections.ledger,
        leases=connections.leases,
        reconciler=connections.reconciler,
        failed_topic=connections.failed_topic,
        probes=connections.probes(),
        rules=RetryRules(
            attempts=settings.retry_attempts,
            backoff_first=settings.retry_backoff_first,
            backoff_most=settings.retry_backoff_most,
            outage_backoff_most=settings.outage_backoff_most,
            crash_attempts=settings.crash_attempts,
        ),
        counters=metrics.counters,
        stages=metrics.stages,
        gauges=metrics.gauges,
        outcomes=None if is_isolated else outcomes,
        now_ms=lambda: time.time_ns() // 1_000_000,
        is_stopping=is_stopping,
        isolation=None if is_isolated else OwnProcess(settings.attempt_limit, metrics.counters, metrics.stages),
        # of an attempt in a process of its own the one that waits for it hears
        heal=_heal_nothing if is_isolated or healing is None else healing.ask,
    )


def _heal_nothing(_course_ids: Iterable[str]) -> None:
    """Ask nobody."""
