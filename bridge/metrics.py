"""What the bridge counts, times and shows (docs/metrics.md)."""

import math

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
        self.oldest_open = gauge(
            "oldest_open_seconds", "For how long the oldest open request has been accepted; 0 when none is open"
        )
        self.lag = gauge("bridge_lag", "Records of this bridge's partitions that it has not taken yet")
        self.failures_held = gauge(
            "failures_held", "1 while too many final failures stop consumption (failures.max.per.minute)"
        )
        self._queue_length = gauge(
            "queue_length", "Messages that wait in Celery's queue; NaN while the broker does not tell"
        )
        self.queued(None)
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
