"""Runs an attempt in a process of its own, so that a request that kills or hangs it convicts nobody else.

A fresh interpreter is started, not a fork: this process has threads, and what they hold would be copied half-way.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Protocol

import structlog

from ledger.entries import Claim
from reconciliation.counters import Counters
from reconciliation.durations import Stages, Timed
from reconciliation.errors import WORKER_LOST, LedgerUnavailable
from tasks.outcomes import Ended, Ending
from tasks.summary import Summary
from worker.pool_metrics import alone

log = structlog.get_logger(__name__)

#: How often a process that waits for an isolated one says that it has not died itself, in seconds.
PULSE = 1.0
#: How long after its limit an isolated process is ended from outside, in seconds. It ends itself before.
GRACE = 5.0
#: How long what an isolated process said is waited for once it has ended, in seconds: it lies in the pipe already.
LAST_MOMENT = 2.0

#: What an isolated process says before it begins the attempt.
BEGAN = "began"
#: The exit code of an isolated process that the ledger's absence kept from ending its attempt.
EXIT_LEDGER_AWAY = 75


@dataclass(frozen=True, slots=True)
class Crashed:
    """The isolated process was lost in the middle of its attempt; `reason` says how."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The isolated process did not get to its attempt, or not to its end, for no fault of the request's.

    `code` is one of `reconciliation.errors`.
    """

    code: str
    reason: str


class Isolation(Protocol):
    """Runs one claim's attempt elsewhere."""

    def __call__(self, claim: Claim, token: str, touch: Callable[[], None]) -> Summary | Crashed | Unfinished:
        """Run the attempt to its end; `touch` is called again and again meanwhile, as long as it may take."""


class OwnProcess:
    """Runs attempts in processes of their own: `python -m tasks.isolated`.

    Args:
        limit: how long an attempt may take, in seconds.
        counters: what the process counted is added here.
        stages: what it timed is added here.

    """

    def __init__(self, limit: float, counters: Counters, stages: Stages) -> None:
        self._limit = limit
        self._counters = counters
        self._stages = stages

    def __call__(self, claim: Claim, token: str, touch: Callable[[], None]) -> Summary | Crashed | Unfinished:
        """Run a claim's attempt; the process takes the claim over by its token."""
        command = [sys.executable, "-m", "tasks.isolated", claim.entry_id, str(claim.generation), token]
        # a session of its own: Ctrl-C is for the worker, which waits for it
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                start_new_session=True,
                env=alone(os.environ),
            )
        except OSError as error:
            # no memory, process or file is left, or a release is being exchanged: nothing that the request did
            return Unfinished(WORKER_LOST, f"the attempt's own process could not be started: {error.strerror or error}")
        with child:
            answer, is_over = self._listen(child, touch)
        began, _, rest = answer.decode(errors="replace").partition("\n")
        # its own alarm may have no time left before ours
        how = _how(-signal.SIGALRM if is_over else child.returncode, self._limit)
        if child.returncode == EXIT_LEDGER_AWAY:
            return Unfinished(LedgerUnavailable.code, "the ledger is away")
        if began != BEGAN:
            return Unfinished(WORKER_LOST, f"the attempt's own process did not start: {how}")
        if child.returncode != 0:
            return Crashed(how)
        return self._take(rest)

    def _listen(self, child: subprocess.Popen[bytes], touch: Callable[[], None]) -> tuple[bytes, bool]:
        """Wait for the process, for as long as an attempt may take, and end what is left then.

        Gives what it told, and whether it was ended because its time was over.

        Its end alone does not end the pipe: what it started itself, and what has its standard output, may still run.
        """
        ends = time.monotonic() + self._limit + GRACE
        told: bytes | None = None
        while told is None and child.poll() is None and time.monotonic() <= ends:
            touch()
            with suppress(subprocess.TimeoutExpired):
                told, _ = child.communicate(timeout=PULSE)
        is_over = told is None and child.poll() is None
        # its id is still its group's as long as anybody is in that: no new process gets it (kernel/pid.c, alloc_pid)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        return _rest(child) if told is None else told, is_over

    def _take(self, told: str) -> Summary:
        report = json.loads(told)
        self._counters.add(report["counters"])
        self._stages.add(report["stages"])
        fields = report["summary"]
        ended = tuple(Ended(**{**it, "outcome": Ending(it["outcome"])}) for it in fields["ended"])
        return Summary(int(fields["done"]), int(fields["stale"]), ended)


def report(summary: Summary, counters: Counters, timed: Sequence[Timed]) -> str:
    """Write down what an isolated process did, for the process that waits for it and tells of it."""
    return json.dumps({"summary": asdict(summary), "counters": counters.read(), "stages": timed})


def _rest(child: subprocess.Popen[bytes]) -> bytes:
    """Give all that a process told which has been killed or has ended."""
    # first, so that nothing but the pipe is waited for below
    with suppress(subprocess.TimeoutExpired):
        child.wait(LAST_MOMENT)
    try:
        told, _ = child.communicate(timeout=LAST_MOMENT)
    except subprocess.TimeoutExpired as held:
        # somebody who left the group has it open; all that the process itself told has been read by now, and stands
        # here with what was read before (subprocess.py, Popen._check_timeout)
        return held.output or b""
    return told


def _how(code: int, limit: float) -> str:
    if code == -signal.SIGALRM:
        return f"it took longer than attempt.limit, {limit:g} s"
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"
