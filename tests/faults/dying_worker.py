"""A worker that kills itself in the middle of a large group: `celery -A tests.faults.dying_worker worker`.

The variable FAULT_STEP names the step (see `STEPS`). Smaller groups pass unharmed.
"""

import functools
import os
import signal
from collections.abc import Callable
from typing import Any, NoReturn

from ledger.ledger import Ledger
from reconciliation.enrolment_store import EnrolmentStore
from reconciliation.publisher import EventPublisher
from worker.celery import app

__all__ = ["STEPS", "app"]

#: Each step: the call in which the worker dies, how many of the group's items the call still handles (None: all, 0:
#: none), and how many items make the group a large one there.
STEPS: dict[str, tuple[type, str, int | None, int]] = {
    "after the claim": (Ledger, "claim", None, 25),
    "in the middle of the aggregates": (EnrolmentStore, "write_aggregates", 12, 15),
    "after the debts": (Ledger, "owe", None, 13),
    "in the middle of the enrolments": (EnrolmentStore, "write_enrolments", 12, 13),
    "before the completions are read back": (EnrolmentStore, "read_completions", 0, 13),
    # a certificate and an audit event for each: the thirteenth completion has only its certificate
    "in the middle of the events": (EventPublisher, "publish", 25, 26),
    "before the settlement": (Ledger, "settle", 0, 13),
    "in the middle of the settlement": (Ledger, "settle", 12, 13),
    "after the settlement": (Ledger, "settle", None, 13),
}


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit  # not reached


def _deadly(call: Callable[..., Any], handled: int | None, large: int) -> Callable[..., Any]:
    @functools.wraps(call)
    def call_and_die(self: object, items: list[object], *arguments: object, **named: object) -> Any:
        if len(items) < large:
            return call(self, items, *arguments, **named)
        if handled != 0:
            call(self, items[:handled], *arguments, **named)
        _die()

    return call_and_die


def _arm(step: str) -> None:
    owner, name, handled, large = STEPS[step]
    setattr(owner, name, _deadly(getattr(owner, name), handled, large))


if os.environ.get("FAULT_STEP"):
    _arm(os.environ["FAULT_STEP"])
