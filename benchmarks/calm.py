"""Waits until the servers rest, so that one round does not pay for the last one's compactions."""

import time

import psutil

from devstack.stack import Stack

_CALM_PERCENT = 15.0
_LOOK_SECONDS = 1.0
_LIMIT_SECONDS = 60.0


def wait_calm(stack: Stack) -> None:
    """Wait until all servers together use little of one core for a second, at most a minute."""
    processes = [psutil.Process(server.pid) for server in stack.servers.values() if server.pid]
    ends = time.monotonic() + _LIMIT_SECONDS
    while time.monotonic() < ends:
        for process in processes:
            process.cpu_percent()
        time.sleep(_LOOK_SECONDS)
        if sum(process.cpu_percent() for process in processes) < _CALM_PERCENT:
            return
