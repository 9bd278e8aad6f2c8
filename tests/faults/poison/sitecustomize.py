"""Makes some learners' requests poison in every process that has this folder on its PYTHONPATH.

Python imports a module of this name at its start, so the product's own code runs unchanged but for the one step that a
learner's id names. How it breaks is in the id: `poison-raises-…`, `poison-hangs-…`, `poison-kills-…`, `poison-exits-…`
(its code would end the process), `poison-exhausts-…` (memory runs out, and once more while that is written down),
`poison-starves-…` (it runs out in a step that all of a group take together). One named `poison-waits-…` is well, but
waits as long as the file named by POISON_WAITS_FOR is there.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from reconciliation import personal, progress

_plan: Callable[..., Any] = progress.plan
_write_down = personal.traceback_without_learners


def _poisoned(attempt: Any, *arguments: Any, **named: Any) -> Any:
    user = attempt.enrolment.user_id
    if user.startswith("poison-raises"):
        raise RuntimeError(f"the plan of {user} is broken")
    if user.startswith("poison-hangs"):
        while True:
            time.sleep(1)
    if user.startswith("poison-exits"):
        sys.exit(3)
    if user.startswith("poison-exhausts"):
        raise MemoryError
    if user.startswith("poison-kills"):
        # as the kernel does when memory runs out, or a driver that crashes: no Python code is asked any more
        os.kill(os.getpid(), signal.SIGKILL)
    if user.startswith("poison-waits"):
        while Path(os.environ["POISON_WAITS_FOR"]).exists():
            time.sleep(0.1)
    return _plan(attempt, *arguments, **named)


def _exhausted(error: BaseException, user_ids: Iterable[str]) -> str:
    users = list(user_ids)
    if any(user.startswith("poison-exhausts") for user in users):
        raise MemoryError
    return _write_down(error, users)


progress.plan = _poisoned
# before anybody takes it from there by its name
personal.traceback_without_learners = _exhausted

from reconciliation.reconciler import Reconciler  # noqa: E402 - it takes that one

_look = Reconciler._look


def _starved(reconciler: Any, store: Any, works: Any) -> None:
    if any(work.attempt.enrolment.user_id.startswith("poison-starves") for work in works):
        raise MemoryError
    _look(reconciler, store, works)


Reconciler._look = _starved  # type: ignore[method-assign] # as above, in the place where it is looked for
