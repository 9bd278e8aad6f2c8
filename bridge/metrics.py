"""What the bridge counts, times and shows (docs/metrics.md)."""

import math
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Gauge

from bridge.pacing import Hold
from reconciliation.build_info import show_build
from reconciliation.counters import PREFIX, Counters
from reconciliation.durations import BRIDGE_STAGES, Stages


class BridgeMetrics:
    """Everything that a bridge measures, registered at `registry`. Make one a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.counters = Counters(registry)
        self.stages = Stages(registry, BRIDGE_STAGES)
        self.gauges = Gauges(registry)
        show_build(registry, "bridge")


class Gauges:
    """What an operator looks at first, registered at `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, meaning: str) -> Gauge:
            return Gauge(PREFIX + name, meaning, registry=registry)

        self.open_requests = gauge("open_requests", "Requests accepted and not settled, of all bridges")
        self.unpaused_entries = gauge(
            "unpaused_entries", "Entries of open requests that no operator's pause keeps back, of all bridges"
        )
        self.oldest_open = gauge(
            "oldest_open_seconds", "For how long the oldest open request has been accepted; 0 when none is open"
        )
        self.lag = gauge("bridge_lag", "Records of this bridge's partitions that it has not taken yet")
        self.failures_held = gauge(
            "failures_held", "1 while too many final failures stop consumption (failures.max.per.minute)"
        )
        self._queue_length = gauge(
            "queue_length", "Messages that wait in Celery's queue of clicks; NaN while the broker does not tell"
        )
        self.queued(None)
        self.bulk = BulkGauges(registry)
        self._progress = gauge(
            "last_progress_timestamp_seconds",
            "When a round of this bridge last went well, in seconds since 1970; 0 before the first",
        )
        self._paused = gauge("bridge_paused", "1 while this bridge takes nothing from Kafka")
        holds = Gauge(
            PREFIX + "bridge_hold", "1 for the reason why this bridge takes nothing", ["reason"], registry=registry
        )
        self._holds = {hold: holds.labels(hold.name.lower()) for hold in Hold}

    def held(self, hold: Hold | None) -> None:
        """Show for which reason the bridge takes nothing; None where it goes on."""
        self._paused.set(0 if hold is None else 1)
        for each, gauge in self._holds.items():
            gauge.set(each is hold)

    def progressed(self) -> None:
        """Note that a round went well just now."""
        self._progress.set_to_current_time()

    def queued(self, length: int | None) -> None:
        """Show how many messages wait for workers; None where nobody knows."""
        self._queue_length.set(math.nan if length is None else length)


class BulkGauges:
    """What bulk runs have under way, registered at `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._queue_length = Gauge(
            PREFIX + "bulk_queue_length",
            "Messages that wait in Celery's queue of bulk runs; NaN while the broker does not tell",
            registry=registry,
        )
        self.queued(None)
        self._open = Gauge(
            PREFIX + "bulk_open_requests", "Requests of bulk runs accepted and not settled", registry=registry
        )
        # a run is gone when nothing of it is open, and the ledger bounds how many go at once
        self._of_run = Gauge(
            PREFIX + "bulk_run_open_requests",
            "Requests accepted and not settled of each bulk run that has any",
            ["run"],
            registry=registry,
        )
        self._shown: set[str] = set()

    def show(self, open_of_runs: Mapping[str, int]) -> None:
        """Show how many requests of each run are open; runs without any are left out."""
        self._open.set(sum(open_of_runs.values()))
        for run, requests in open_of_runs.items():
            self._of_run.labels(run).set(requests)
        for run in self._shown - set(open_of_runs):
            self._of_run.remove(run)
        self._shown = set(open_of_runs)

    def queued(self, length: int | None) -> None:
        """Show how many messages of bulk runs wait for workers; None where nobody knows."""
        self._queue_length.set(math.nan if length is None else length)
