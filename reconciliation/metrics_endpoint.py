"""Serves a process's metrics and health over HTTP, the bridge's and the workers' alike.

See docs/reconciliation.md (counters) and docs/health.md.
"""

import socket
import threading
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import WSGIApplication

import structlog
from prometheus_client import CollectorRegistry, make_wsgi_app

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
        server = _listen(with_health(make_wsgi_app(registry), health), address, port)
    except OSError as error:
        log.warning(
            "metrics and health are not served: set the port to a free one or to 0, the address to one of this host",
            settings=", ".join(f"{name} ({environment_variable(name)})" for name in (setting, "metrics.address")),
            address=address,
            port=port,
            error=str(error),
        )
        return
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()


class _Server(ThreadingMixIn, WSGIServer):
    """Answers each question in a thread of its own, which holds up no end."""

    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    """Logs no request, and waits for one no longer than `timeout`, in seconds."""

    timeout = 30

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


def _listen(app: WSGIApplication, address: str, port: int) -> WSGIServer:
    # prometheus_client's own server would answer everything with metrics until the other paths are added to it
    family, _, _, _, place = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]

    class Server(_Server):
        address_family = family

    return make_server(str(place[0]), port, app, Server, _QuietHandler)
