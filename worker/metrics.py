"""What a worker counts, times and shows (docs/metrics.md).

`multiprocess_mode` says how the values of a pool's processes become one (worker/pool_metrics.py); it means nothing
where one process is all there is.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Gauge

from reconciliation.build_info import show_build
from reconciliation.counters import PREFIX, Counters, Retries
from reconciliation.durations import WORKER_STAGES, RequestAges, Stages, Timed

#: The values of a retry's label `spends` (ledger/entries.py, Spends).
SPENT = ("attempt", "wait", "crash")


class WorkerMetrics:
    """Everything that a worker's process measures, registered at `registry`. Make one a process.

    `timed`, where given, is filled with what its stages took, for another process.
    """

    def __init__(self, registry: CollectorRegistry, timed: list[Timed] | None = None) -> None:
        self.counters = Counters(registry)
        self.retries = Retries(registry, SPENT)
        self.stages = Stages(registry, WORKER_STAGES, timed)
        self.ages = RequestAges(registry)
        self.gauges = WorkerGauges(registry)


class WorkerGauges:
    """What changes as requests come and go, registered at `registry`. Safe for use by several threads."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._running = Gauge(
            PREFIX + "attempts_running",
            "Requests that this worker has in hand",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._progress = Gauge(
            PREFIX + "last_progress_timestamp_seconds",
            "When a request last ended here, in seconds since 1970; 0 before the first",
            registry=registry,
            multiprocess_mode="max",
        )

    @contextmanager
    def running(self, count: int) -> Iterator[None]:
        """Show so many requests as in hand within the block."""
        self._running.inc(count)
        try:
            yield
        finally:
            self._running.dec(count)

    def progressed(self) -> None:
        """Note that a request ended just now."""
        self._progress.set_to_current_time()


def show_worker(registry: CollectorRegistry, threads: int) -> None:
    """Register what stays the same for a worker's life; `threads` is how many tasks it runs at once."""
    show_build(registry, "worker")
    Gauge(
        PREFIX + "worker_threads",
        "How many tasks this worker runs at once",
        registry=registry,
        multiprocess_mode="max",
    ).set(threads)
