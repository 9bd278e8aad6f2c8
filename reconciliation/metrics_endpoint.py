"""Serves a process's metrics and health over HTTP, the bridge's and the workers' alike.

See docs/reconciliation.md (counters) and docs/health.md.
"""

import structlog
from prometheus_client import CollectorRegistry, make_wsgi_app, start_http_server

from reconciliation.health import Health
from reconciliation.health_endpoint import with_health
from reconciliation.settings_sources import environment_variable

log = structlog.get_logger(__name__)


def serve_metrics(registry: CollectorRegistry, address: str, port: int, setting: str, health: Health) -> None:
    """Serve the registry and the process's health from a thread of its own.

    Port 0 serves nothing, a taken port is only told. `setting` is the documented name of the port's setting.
    """
    if port == 0:
        return
    try:
        server, _ = start_http_server(port, address, registry)
    except OSError as error:
        log.warning(
            "metrics and health are not served: set the port to a free one or to 0, the address to one of this host",
            settings=", ".join(f"{name} ({environment_variable(name)})" for name in (setting, "metrics.address")),
            address=address,
            port=port,
            error=str(error),
        )
        return
    server.set_app(with_health(make_wsgi_app(registry), health))
