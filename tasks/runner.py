"""Makes an `AttemptRunner` from a process's connections."""

import time
from collections.abc import Callable

from tasks.attempts import AttemptRunner
from tasks.isolation import OwnProcess
from tasks.retry_policy import RetryRules
from worker.connections import STOPPING, Connections


def make_runner(
    connections: Connections, *, is_isolated: bool = False, is_stopping: Callable[[], bool] = STOPPING.is_set
) -> AttemptRunner:
    """Give what runs attempts here.

    `is_isolated` says that this process is one attempt's own, `is_stopping` when to wait for the ledger no longer.
    """
    settings = connections.settings
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
        counters=connections.counters,
        now_ms=lambda: time.time_ns() // 1_000_000,
        is_stopping=is_stopping,
        isolation=None if is_isolated else OwnProcess(settings.attempt_limit, connections.counters),
    )
