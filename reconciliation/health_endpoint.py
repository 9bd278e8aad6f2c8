"""Serves a process's health beside its metrics: /health/live and /health/ready (docs/health.md)."""

import json
import time
from collections.abc import Callable, Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from reconciliation.health import Health


def with_health(
    metrics: WSGIApplication, health: Health, clock: Callable[[], float] = time.monotonic
) -> WSGIApplication:
    """Answer the two paths from `health`, and everything else with `metrics`.

    An answer is 200 where nothing stands against it, else 503, with a JSON object that tells the reasons.
    """
    asked: dict[str, tuple[str, str, Callable[[float], list[str]]]] = {
        "/health/live": ("alive", "stuck", health.against_life),
        "/health/ready": ("ready", "not ready", health.against_readiness),
    }

    def answer(environment: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        found = asked.get(environment.get("PATH_INFO", ""))
        if found is None:
            return metrics(environment, start)
        well, ill, reasons_against = found
        reasons = reasons_against(clock())
        body = json.dumps({"status": ill, "reasons": reasons} if reasons else {"status": well}).encode() + b"\n"
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start("503 Service Unavailable" if reasons else "200 OK", headers)
        return [body]

    return answer
