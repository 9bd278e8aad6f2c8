"""A worker that stays in one step while a file exists: `celery -A tests.faults.slow_worker worker`.

The variables FAULT_STEP and FAULT_FILE name the step (see `STEPS` and `WORKER_STEPS`) and the file; FAULT_VISIBILITY
the seconds after which Celery hands a message that is not acknowledged to somebody else.
"""

import functools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from kombu.asynchronous import Hub

from ledger.ledger import Ledger
from reconciliation.enrolment_store import EnrolmentStore
from reconciliation.publisher import EventPublisher
from worker.celery import app
from worker.replacement import Replacement

__all__ = ["STALLS", "STEPS", "app"]

log = structlog.get_logger(__name__)

#: What the worker says when it stays in its step.
STALLS = "an attempt is held up"

#: Each step of an attempt: the call before which the worker stays.
STEPS: dict[str, tuple[type, str]] = {
    "before it looks": (EnrolmentStore, "look"),
    "before the debts": (Ledger, "owe"),
    "before the enrolments": (EnrolmentStore, "write_enrolments"),
    "before the events": (EventPublisher, "publish"),
    "before the settlement": (Ledger, "settle"),
}
#: Steps of the worker itself.
WORKER_STEPS: dict[str, tuple[type, str]] = {
    "before it starts anew": (Replacement, "run_again"),
    # within Celery's own loop, which takes messages
    "before Celery's timers": (Hub, "fire_timers"),
}

_LOOKS_EVERY = 0.05


def _held(call: Callable[..., Any], file: Path) -> Callable[..., Any]:
    @functools.wraps(call)
    def stay_and_call(*arguments: Any, **named: Any) -> Any:
        if file.exists():
            log.warning(STALLS)
        while file.exists():
            time.sleep(_LOOKS_EVERY)
        return call(*arguments, **named)

    return stay_and_call


def _arm(step: str, file: Path) -> None:
    owner, name = (STEPS | WORKER_STEPS)[step]
    setattr(owner, name, _held(getattr(owner, name), file))


if os.environ.get("FAULT_STEP"):
    _arm(os.environ["FAULT_STEP"], Path(os.environ["FAULT_FILE"]))
if os.environ.get("FAULT_VISIBILITY"):
    # only each tenth of these looks is one (kombu/transport/redis.py, QoS.restore_visible)
    early = {"visibility_timeout": float(os.environ["FAULT_VISIBILITY"]), "unacked_restore_interval": 0.5}
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, **early}
