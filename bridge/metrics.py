"""The bridge's own gauges, beside the counters (docs/reconciliation.md, counters)."""

from prometheus_client import CollectorRegistry, Gauge

from reconciliation.counters import PREFIX


class Gauges:
    """What an operator looks at first, registered at `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.open_requests = Gauge(
            PREFIX + "open_requests", "Requests accepted and not settled, of all bridges", registry=registry
        )
        self.paused = Gauge(PREFIX + "bridge_paused", "1 while this bridge takes nothing from Kafka", registry=registry)
        self.lag = Gauge(
            PREFIX + "bridge_lag", "Records of this bridge's partitions that it has not taken yet", registry=registry
        )
