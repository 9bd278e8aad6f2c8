"""A process is ended only while it is still the one that was started, and for certain."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from devstack import java
from devstack.errors import DevstackError
from devstack.ports import Ports
from devstack.process import DetachedProcess
from devstack.redis import RedisServer
from devstack.server import Place

SLEEPER = [sys.executable, "-c", "print('up', flush=True); import time; time.sleep(60)"]
DEAF_PROGRAM = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("deaf", flush=True))
print("up", flush=True)
for _ in range(600):
    time.sleep(0.1)
"""
DEAF = [sys.executable, "-c", DEAF_PROGRAM]

SLEEPING_PROGRAM = """
import threading, time
for _ in range(60):
    threading.Thread(target=time.sleep, args=[60]).start()
print("up", flush=True)
"""
SLEEPERS = [sys.executable, "-c", SLEEPING_PROGRAM]


def _await_log(process: DetachedProcess, text: str) -> None:
    deadline = time.monotonic() + 20
    while text not in process.log_tail():
        assert time.monotonic() < deadline, f"{text!r} never came: {process.log_tail()!r}"
        time.sleep(0.02)


def _states(process: DetachedProcess) -> set[str]:
    assert process.pid is not None
    return {psutil.Process(thread.id).status() for thread in psutil.Process(process.pid).threads()}


def test_it_is_known_again_by_another_reader_and_ends(tmp_path: Path) -> None:
    process = DetachedProcess(tmp_path)
    process.spawn(SLEEPER)
    _await_log(process, "up")
    again = DetachedProcess(tmp_path)
    pid = again.pid
    assert pid is not None
    assert pid == process.pid
    assert psutil.Process(pid).terminal() is None
    again.end(limit=10)
    assert process.pid is None
    assert process.how_it_ended() == "signal SIGTERM"
    assert not psutil.pid_exists(pid)


def test_a_frozen_one_stands_still_in_all_its_threads_at_once(tmp_path: Path) -> None:
    process = DetachedProcess(tmp_path)
    process.spawn(SLEEPERS)
    _await_log(process, "up")
    try:
        for _ in range(20):
            process.freeze()
            assert _states(process) == {psutil.STATUS_STOPPED}
            process.send(signal.SIGCONT)
    finally:
        process.kill()


def test_one_that_ignores_sigterm_is_killed_after_the_limit(tmp_path: Path) -> None:
    process = DetachedProcess(tmp_path)
    process.spawn(DEAF)
    _await_log(process, "up")
    process.send(signal.SIGTERM)
    _await_log(process, "deaf")
    process.end(limit=1)
    assert process.pid is None
    assert process.how_it_ended() == "signal SIGKILL"
    assert "deaf" in process.log_tail()


def test_a_pid_that_now_belongs_to_another_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(SLEEPER, stdout=subprocess.DEVNULL) as stranger:
        started = psutil.Process(stranger.pid).create_time()
        (tmp_path / "process.json").write_text(json.dumps({"pid": stranger.pid, "started": started - 60}))
        process = DetachedProcess(tmp_path)
        assert process.pid is None
        process.end(limit=1)
        assert stranger.poll() is None
        stranger.kill()


def test_a_server_that_ends_while_starting_says_why_with_its_log(tmp_path: Path, unused_ports: Ports) -> None:
    server = RedisServer(Place(tmp_path, tmp_path / "cache", unused_ports))
    (server.folder / "data").mkdir(parents=True)
    (server.folder / "data" / "appendonly.aof").write_bytes(b"no append-only file at all")
    with pytest.raises(DevstackError) as caught:
        server.start()
    assert caught.value.server == "redis"
    assert "ended while starting (exit code 1)" in caught.value.reason
    assert "Bad file format" in caught.value.log
    assert "down --delete" in caught.value.next_step
    assert server.pid is None


def test_without_a_java_17_it_says_what_was_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = tmp_path / "java"
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    old.chmod(0o755)
    monkeypatch.setattr(java, "_candidates", lambda: iter([old, tmp_path / "missing"]))
    java.find_java.cache_clear()
    with pytest.raises(DevstackError) as caught:
        java.find_java()
    java.find_java.cache_clear()
    assert f'{old} (openjdk version "11.0.2")' in str(caught.value)
    assert "JAVA_HOME" in caught.value.next_step


@pytest.mark.parametrize("value", ["kafka", "0", "65536", "-1"])
def test_a_value_that_is_no_port_is_named(value: str) -> None:
    with pytest.raises(DevstackError, match="DEVSTACK_REDIS_PORT"):
        Ports.from_environment({"DEVSTACK_REDIS_PORT": value})
