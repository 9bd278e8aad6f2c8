"""Serves a process's metrics over HTTP, the bridge's and the workers' alike (docs/reconciliation.md, counters)."""

import structlog
from prometheus_client import CollectorRegistry, start_http_server

from reconciliation.settings_sources import environment_variable

log = structlog.get_logger(__name__)


def serve_metrics(registry: CollectorRegistry, address: str, port: int, setting: str) -> None:
    """Serve the registry from a thread of its own; port 0 serves nothing, a taken port is only told.

    `setting` is the documented name of the port's setting.
    """
    if port == 0:
        return
    try:
        start_http_server(port, address, registry)
    except OSError as error:
        log.warning(
            "metrics are not served: set the port to a free one or to 0, the address to one of this host",
            settings=", ".join(f"{name} ({environment_variable(name)})" for name in (setting, "metrics.address")),
            address=address,
            port=port,
            error=str(error),
        )
