"""Attempts in processes of their own: those that can't even be started, and those that leave something behind."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from reconciliation.errors import WORKER_LOST
from tasks import isolation
from tasks.isolation import BEGAN, Crashed, OwnProcess, Unfinished, report
from tasks.outcomes import Ended, Ending
from tasks.summary import Summary
from tests.support.processes import has_ended
from tests.support.waiting import wait_until
from tests.unit.test_outcomes import make_claim
from worker.metrics import WorkerMetrics

#: How long an attempt may take where its limit is not to matter, in seconds.
PATIENT = 60.0
#: What a process leaves behind outlasts every wait of these tests, in seconds.
LEFT_BEHIND = 600

Run = Callable[..., tuple[object, list[float]]]


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Path]:
    """Where a process writes the id of what it leaves behind; that is ended with the test in any case."""
    file = tmp_path / "left"
    yield file
    if file.exists():
        with suppress(ProcessLookupError):
            os.kill(int(file.read_text()), signal.SIGKILL)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs an attempt whose own process is this shell script; gives how it ended and when it was touched."""
    stand_in = tmp_path / "stand-in"

    def run(script: str, limit: float = PATIENT) -> tuple[object, list[float]]:
        stand_in.write_text(f"#!/bin/sh\necho {BEGAN}\n{script}\n")
        stand_in.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(stand_in))
        metrics = WorkerMetrics(CollectorRegistry())
        touched: list[float] = []
        ended = OwnProcess(limit, metrics.counters, metrics.stages)(
            make_claim("entry"), "token", lambda: touched.append(time.monotonic())
        )
        return ended, touched

    return run


def leave(file: Path) -> str:
    """Give lines of a script that leave something behind which has its standard output."""
    return f"sleep {LEFT_BEHIND} &\necho $! > {file}"


def leave_out_of_reach(file: Path) -> str:
    """Give such lines for what has left the process's group by the time that they are through."""
    waits = f"while [ ! -s {file} ]; do sleep 0.05; done"
    return f"setsid sh -c 'echo $$ > {file}; exec sleep {LEFT_BEHIND}' &\n{waits}"


def is_gone(file: Path) -> bool:
    """Say whether what was left behind has ended."""
    return has_ended(int(file.read_text()))


def large_report(folder: Path) -> tuple[Summary, Path]:
    """Give a summary that fills a pipe many times over, and the file in which its report is."""
    ended = tuple(Ended(f"entry-{number}", Ending.RETRIED, 1, reason="because " * 20) for number in range(5_000))
    summary = Summary(1, 2, ended)
    metrics = WorkerMetrics(CollectorRegistry())
    file = folder / "report"
    file.write_text(report(summary, metrics.counters, []))
    assert file.stat().st_size > 1_000_000
    return summary, file


def test_a_process_that_can_not_be_started_is_nobody_s_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    metrics = WorkerMetrics(CollectorRegistry())
    ended = OwnProcess(5.0, metrics.counters, metrics.stages)(make_claim("entry"), "token", lambda: None)
    assert ended == Unfinished(WORKER_LOST, "the attempt's own process could not be started: No such file or directory")


def test_what_a_lost_process_leaves_behind_is_ended_with_it(run: Run, left: Path) -> None:
    began = time.monotonic()
    ended, _ = run(f"{leave(left)}\nexit 1")
    assert ended == Crashed("exit code 1")
    assert time.monotonic() - began < PATIENT / 2
    wait_until("it is gone", lambda: is_gone(left))


def test_a_large_report_is_taken_whole_whatever_is_left_behind(run: Run, left: Path, tmp_path: Path) -> None:
    summary, file = large_report(tmp_path)
    ended, _ = run(f"{leave(left)}\ncat {file}")
    assert ended == summary
    wait_until("it is gone", lambda: is_gone(left))


def test_a_report_is_taken_though_somebody_out_of_reach_holds_the_pipe(run: Run, left: Path, tmp_path: Path) -> None:
    summary, file = large_report(tmp_path)
    ended, _ = run(f"{leave_out_of_reach(left)}\ncat {file}")
    assert ended == summary
    assert not is_gone(left)


def test_what_holds_no_pipe_is_ended_too(run: Run, left: Path, tmp_path: Path) -> None:
    summary, file = large_report(tmp_path)
    ended, _ = run(f"sleep {LEFT_BEHIND} > {os.devnull} &\necho $! > {left}\ncat {file}")
    assert ended == summary
    wait_until("it is gone", lambda: is_gone(left))


def check_hanging(run: Run, monkeypatch: pytest.MonkeyPatch, leaving: str) -> None:
    """Insist that a process which hangs, whatever it leaves, is ended in time and not touched beyond that."""
    monkeypatch.setattr(isolation, "GRACE", 0.5)
    began = time.monotonic()
    ended, touched = run(f"{leaving}\nwait", 5.0)
    assert ended == Crashed("it took longer than attempt.limit, 5 s")
    assert time.monotonic() - began < PATIENT / 2
    # each second at most until limit and grace are over
    assert 1 <= len(touched) <= 7


def test_a_process_that_hangs_with_what_it_started_is_ended_in_time(
    run: Run, left: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_hanging(run, monkeypatch, leave(left))
    wait_until("it is gone", lambda: is_gone(left))


def test_a_process_that_hangs_while_somebody_out_of_reach_holds_the_pipe_is_left_in_time(
    run: Run, left: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_hanging(run, monkeypatch, leave_out_of_reach(left))
