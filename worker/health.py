"""What a worker says of its health (docs/health.md), and where it is served."""

import time
from collections.abc import Callable
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry

from reconciliation.health import Heartbeat
from reconciliation.metrics_endpoint import serve_metrics
from reconciliation.settings import process_settings
from worker.broker_question import BrokerQuestion
from worker.connections import STOPPING, is_all_hung, is_store_open
from worker.metrics import show_worker
from worker.pool_metrics import POOL_METRICS, is_of_processes

#: How often Celery's loop says that it turns, in seconds.
BEAT_INTERVAL = 1.0
#: How long the broker may take to answer us, in seconds: whoever asks about our health waits meanwhile.
BROKER_ANSWER = 2.0
#: A loop that was not heard of for so long takes nothing for the moment, in seconds.
READY_SILENCE = 15.0


class CeleryLoop:
    """Follows the loop of Celery's consumer. Celery's thread tells it, others ask.

    While the broker is away the loop stands still, somewhere within kombu's tries to reach it, and these have no end
    (kombu/messaging.py, Producer.publish, for one). So it counts as stuck only where it stands still though the broker
    answers whenever we are asked.

    Args:
        limit: how long it may stand still then, in seconds.
        is_broker_there: whether the broker answers; soon told.
        now: when the worker began.

    """

    def __init__(self, limit: float, is_broker_there: Callable[[], bool], now: float) -> None:
        self._limit = limit
        self._is_broker_there = is_broker_there
        self._turns = Heartbeat(READY_SILENCE, now)
        self._has_turned = False
        self._there_since: float | None = None

    def turned(self, now: float) -> None:
        """Note that the loop turns."""
        self._turns.beat(now)
        self._has_turned = True

    def is_turning(self, now: float) -> bool:
        """Say whether the loop takes what the broker has."""
        return self._has_turned and not self._turns.is_late(now)

    def is_stuck(self, now: float) -> bool:
        """Say whether the loop stands still without a reason."""
        if not self._turns.is_late(now) or not self._is_broker_there():
            self._there_since = None
            return False
        if self._there_since is None:
            self._there_since = now
        return now - self._there_since > self._limit

    def silence(self, now: float) -> float:
        """Say for how many seconds the loop has stood still."""
        return self._turns.silence(now)


class WorkerHealth:
    """Alive unless its loop stands still or nothing but hanging attempts is left; a server that is away is no reason.

    Args:
        loop: Celery's.
        is_all_hung: whether attempts hang and no other one runs.
        is_store_open: whether Cassandra was reached; None where that is not this process's matter.
        is_stopping: whether the worker was told to end.

    """

    def __init__(
        self,
        loop: CeleryLoop,
        is_all_hung: Callable[[], bool],
        is_store_open: Callable[[], bool] | None,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._loop = loop
        self._is_all_hung = is_all_hung
        self._is_store_open = is_store_open
        self._is_stopping = is_stopping

    def against_life(self, now: float) -> list[str]:
        """Say why only a new start could help."""
        reasons = []
        # Celery's loop ends before the attempts do, which have a limit of their own (worker/ending.py, end_in_time)
        if not self._is_stopping() and self._loop.is_stuck(now):
            reasons.append(f"Celery's loop stands still for {self._loop.silence(now):.0f} s though the broker answers")
        if self._is_all_hung():
            reasons.append("attempts hang and no other one runs")
        return reasons

    def against_readiness(self, now: float) -> list[str]:
        """Say what keeps the worker from its work."""
        reasons = self.against_life(now)
        if self._is_stopping():
            reasons.append("the worker stops")
        if not self._loop.is_turning(now):
            reasons.append("Celery's loop does not turn: is its broker there?")
        if self._is_store_open is not None and not self._is_store_open():
            reasons.append("Cassandra has not been reached yet")
        return reasons


def serve(pool: Any) -> CeleryLoop:
    """Serve this worker's metrics and health; gives what is to be told of Celery's loop.

    Called once the pool runs and before the broker is looked for: a worker that waits for its broker is alive.
    """
    settings = process_settings()
    kind = pool.__class__.__module__
    # the solo pool runs attempts within the loop
    longest = settings.attempt_limit if kind == "celery.concurrency.solo" else 0.0
    ask = BrokerQuestion(settings, min(BROKER_ANSWER, settings.redis_timeout))
    loop = CeleryLoop(settings.health_limit + longest, ask, time.monotonic())
    health = WorkerHealth(
        loop,
        is_all_hung,
        # the children of a prefork pool have connections of their own
        None if is_of_processes(type(pool)) else is_store_open,
        STOPPING.is_set,
    )
    show_worker(REGISTRY, pool.limit)
    serve_metrics(
        _registry(pool), settings.metrics_address, settings.metrics_worker_port, "metrics.worker.port", health
    )
    return loop


def _registry(pool: Any) -> CollectorRegistry:
    """Give what holds all that the worker's processes measure."""
    return POOL_METRICS.registry(lambda: pool.info["processes"]) if is_of_processes(type(pool)) else REGISTRY
