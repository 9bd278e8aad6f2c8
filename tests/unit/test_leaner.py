"""`celery -A worker worker` goes on as `python -m worker`: the same process, with less in its memory."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.processes import CELERY, REPOSITORY
from tests.support.waiting import wait_until
from worker.leaner import go_on_leaner

LEANER = [sys.executable, "-m", "worker", "celery", "-A", "worker", "worker"]


@contextmanager
def started(*command: str, log: Path, **variables: str) -> Iterator[psutil.Process]:
    """Start a worker that waits for its broker, and kill it in the end."""
    nowhere = "redis://127.0.0.1:1/0"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={"PATH": os.environ["PATH"], "CELERY_BROKER_URL": nowhere, "METRICS_WORKER_PORT": "0", **variables},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait(30)


@pytest.mark.parametrize("command", [CELERY, (sys.executable, "-m", "celery", *CELERY[1:])], ids=["script", "module"])
def test_the_process_stays_and_takes_all_options_of_celery_s_command(command: tuple[str, ...], tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    options = ["-l", "info", "--hostname=one@%h", "-c", "3"]
    with started(*command, "worker", *options, log=log) as process:
        wait_until("it is the leaner one", lambda: process.cmdline() == [*LEANER, *options])
        wait_until("it works", lambda: "concurrency: 3 (thread)" in log.read_text(encoding="utf-8"), 60)
        assert "one@" in log.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "loaded"),
    [
        (["-A", "worker.celery", "worker"], set[str]()),
        (["-A", "tests.faults.slow_worker", "worker"], set[str]()),
        (["-b", "redis://h", "-A", "worker", "worker"], set[str]()),
        (["-A", "worker", "worker", "-P", "gevent"], {"gevent"}),
    ],
)
def test_whatever_else_was_meant_stays_as_it_is(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], loaded: set[str]
) -> None:
    begun: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _program, command: begun.append(command))
    for module in {"celery.bin.celery"} | loaded:
        monkeypatch.setitem(sys.modules, module, sys)
    monkeypatch.setattr(sys, "argv", ["celery", *arguments])
    go_on_leaner()
    assert begun == []
    monkeypatch.setattr(sys, "argv", ["celery", "-A", "worker", "worker", "-c", "2"])
    go_on_leaner()
    assert begun == ([] if loaded else [[*LEANER, "-c", "2"]])


def test_a_lean_worker_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("it began anew"))
    monkeypatch.delitem(sys.modules, "celery.bin.celery", raising=False)
    monkeypatch.setattr(sys, "argv", ["worker", "-A", "worker", "worker"])
    go_on_leaner()


def test_where_there_is_no_program_it_goes_on_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "celery.bin.celery", sys)
    monkeypatch.setattr(sys, "argv", ["celery", "-A", "worker", "worker"])
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    looked_for: list[str] = []
    execv = os.execv

    def look_for(path: str, command: list[str]) -> None:
        looked_for.append(path)
        execv(path, command)

    monkeypatch.setattr(os, "execv", look_for)
    go_on_leaner()
    assert looked_for == ["/nowhere/python"]


@pytest.mark.parametrize("variable", ["CELERY_WORKER_UID", "CELERY_WORKER_GID", "CELERY_QUIET"])
def test_a_worker_of_another_user_and_a_quiet_one_stay_as_they_are(variable: str, tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    value = "1" if variable == "CELERY_QUIET" else str(os.getuid())
    with started(*CELERY, "worker", log=log, **{variable: value}) as process:
        wait_until("it works", lambda: "Cannot connect to" in log.read_text(encoding="utf-8"), 60)
        assert process.cmdline()[1:] == [*CELERY, "worker"]
        assert ("concurrency:" in log.read_text(encoding="utf-8")) == (variable != "CELERY_QUIET")


def test_a_worker_without_standard_output_goes_on_leaner(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    with started("/bin/sh", "-c", 'exec "$@" >&-', "sh", *CELERY, "worker", log=log) as process:
        wait_until("it works", lambda: "Cannot connect to" in log.read_text(encoding="utf-8"), 60)
        assert process.cmdline() == LEANER
