"""The settings that say what bridge and workers tell about themselves; see docs/settings.md and docs/metrics.md."""

from dataclasses import dataclass
from typing import Annotated

from reconciliation import settings_kinds as kind
from reconciliation.settings_sources import Documented


@dataclass(frozen=True, kw_only=True)
class ObservationSettings:
    """Metrics, health and logs."""

    metrics_address: Annotated[
        str, kind.HOST, Documented("metrics.address", "The address that metrics and health are served on.")
    ] = "127.0.0.1"
    metrics_bridge_port: Annotated[
        int, kind.PORT_OR_OFF, Documented("metrics.bridge.port", "The port of the bridge's metrics and health.")
    ] = 9464
    metrics_worker_port: Annotated[
        int, kind.PORT_OR_OFF, Documented("metrics.worker.port", "The port of the worker's metrics and health.")
    ] = 9465
    health_limit: Annotated[
        float,
        kind.seconds(1, 86_400),
        Documented(
            "health.limit", "A process whose loop stands still for longer is not alive on /health/live (seconds)."
        ),
    ] = 300.0
    log_format: Annotated[
        str, kind.one_of("console", "json"), Documented("log.format", "How log records are written.")
    ] = "console"
    log_level: Annotated[
        str,
        kind.one_of("debug", "info", "warning", "error", "critical"),
        Documented("log.level", "The least level that is written."),
    ] = "info"
    log_requests: Annotated[
        bool,
        kind.SWITCH,
        Documented("log.requests", "Whether each request's end is told in a line of its own; one that is given up is."),
    ] = True
    log_enrolment_ids: Annotated[
        str,
        kind.one_of("none", "hashed", "plain"),
        Documented(
            "log.enrolment.ids",
            "How these lines show the enrolment: not at all, plainly, or with a hash for the learner.",
        ),
    ] = "hashed"
