"""Starts processes that outlive the one that starts them, and ends them by their pid."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from demo.run import Started

_START_TIME_TOLERANCE_SECONDS = 2.0
_KILL_LIMIT_SECONDS = 5.0


def start(
    name: str, command: Sequence[str], variables: Mapping[str, str], log: Path, folder: Path, port: int | None = None
) -> Started:
    """Start a command in `folder`, in a session of its own, so that Ctrl-C reaches it through us alone."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        child = subprocess.Popen(
            list(command),
            env=dict(variables),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    # never collected by Popen itself, whose destructor would warn of a child that is still running
    child.returncode = 0
    return Started(name, child.pid, psutil.Process(child.pid).create_time(), port)


def is_alive(started: Started) -> bool:
    """Tell whether the process still runs; a pid that belongs to another by now doesn't count."""
    return _process(started) is not None


def listens(started: Started) -> bool:
    """Tell whether the process, or one that it started, listens on its port."""
    process = _process(started)
    try:
        return process is not None and any(
            connection.status == psutil.CONN_LISTEN and connection.laddr.port == started.port
            for member in (process, *_children(process))
            for connection in member.net_connections("tcp")
        )
    except psutil.NoSuchProcess:
        return False


def end(processes: Sequence[Started], limit: float) -> list[str]:
    """End them side by side: SIGTERM, and SIGKILL for what is left after `limit` seconds. Names those killed."""
    living = [(started, found) for started in processes if (found := _process(started)) is not None]
    # a worker's supervisor passes SIGTERM on; what it started goes with it if it must be killed
    families = {started.pid: [found, *_children(found)] for started, found in living}
    for _, found in living:
        try:
            found.terminate()
        except psutil.NoSuchProcess:
            continue
    members = [member for family in families.values() for member in family]
    _, left = psutil.wait_procs(members, timeout=limit)
    for member in left:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=_KILL_LIMIT_SECONDS)
    return [started.name for started, _ in living if any(member in left for member in families[started.pid])]


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _process(started: Started) -> psutil.Process | None:
    try:
        process = psutil.Process(started.pid)
        if abs(process.create_time() - started.started) > _START_TIME_TOLERANCE_SECONDS:
            return None
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
    except psutil.NoSuchProcess:
        return None
    return process
