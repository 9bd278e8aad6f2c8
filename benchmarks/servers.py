"""Where a measurement runs: servers of its own, and a bridge and workers on names of their own."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.report import Setting
from devstack.ports import free_ports
from devstack.stack import Stack
from devstack.topics import create_topics, topic_names
from tests.support.installation import Installation, unique
from tests.support.processes import WORKER, Process


@contextmanager
def bench_servers(*, use_stack: bool) -> Iterator[tuple[Stack, Path]]:
    """Give servers and a folder for logs; what this run started is ended and removed."""
    folder = Path(tempfile.mkdtemp(prefix="enrolment-bench-"))
    try:
        if use_stack:
            yield Stack.from_environment(os.environ), folder
            return
        stack = Stack(folder / "servers", free_ports(), as_in_production=True)
        try:
            stack.up()
            yield stack, folder / "logs"
        finally:
            stack.down(delete=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_installation(
    stack: Stack,
    keyspace: str,
    logs: Path,
    setting: Setting,
    *,
    worker: Sequence[str] = WORKER,
    settings: Mapping[str, str] | None = None,
) -> Installation:
    """Make a bridge and workers, none of them started, on names of their own.

    `worker` is the command that each worker runs, `settings` are more variables for all of them.
    """
    environment = unique("bench")
    create_topics(stack.ports.bootstrap, topic_names(environment))
    size = {"BRIDGE_GROUP_SIZE": str(setting.group_size), "WORKER_THREADS": str(setting.threads)}
    installation = Installation(stack.ports, environment, keyspace, logs, {**size, **(settings or {})})
    installation.workers = [Process("worker", worker, installation.settings, logs / f"{environment}-worker.log")]
    for _ in range(setting.workers - 1):
        installation.add_worker(worker)
    return installation
