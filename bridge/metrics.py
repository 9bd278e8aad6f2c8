"""The bridge's own gauges, and the endpoint that serves them with the counters (docs/reconciliation.md, counters)."""

import structlog
from prometheus_client import CollectorRegistry, Gauge, start_http_server

from reconciliation.counters import PREFIX

log = structlog.get_logger(__name__)


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


def serve_metrics(registry: CollectorRegistry, address: str, port: int) -> None:
    """Serve the registry over HTTP from a thread of its own; port 0 serves nothing, a taken port is only told."""
    if port == 0:
        return
    try:
        start_http_server(port, address, registry)
    except OSError as error:
        log.warning(
            "metrics are not served: set metrics.bridge.port (METRICS_BRIDGE_PORT) to a free port, or to 0",
            port=port,
            error=str(error),
        )
