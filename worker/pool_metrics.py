"""Adds up what the processes of a prefork pool count, for the one endpoint that their parent serves (docs/metrics.md).

prometheus_client's own way: each process keeps its values in files that it maps into its memory, and whoever is asked
adds the files up (prometheus_client/values.py, MultiProcessValue; multiprocess.py). So what a killed child had counted
is not lost. The files lie in a temporary folder that ends with the worker. With threads none of this is there.
"""

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, ProcessCollector, values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

#: By it prometheus_client's values know where their files are, in the worker and, inherited, in its pool.
_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
#: In the name of the files that hold what dead processes had counted; no process has this id.
_THE_DEAD = 0


def alone(environment: Mapping[str, str]) -> dict[str, str]:
    """Give an environment for a process that is no part of the pool and tells what it counted in another way."""
    return {name: value for name, value in environment.items() if name != _FOLDER_VARIABLE}


def is_of_processes(pool: type) -> bool:
    """Say whether a pool's tasks run in processes of their own; threads have no use for that module."""
    return pool.__module__ == "celery.concurrency.prefork"


class PoolMetrics:
    """The values of a worker's process and its pool. Begun once, before any metric is made and any child is forked."""

    def __init__(self) -> None:
        self._folder: Path | None = None

    def begin(self) -> None:
        """Have every metric that is made from now on, here and in children, keep its values in files."""
        self._folder = Path(tempfile.mkdtemp(prefix="enrolment-reconciliation-metrics-"))
        os.environ[_FOLDER_VARIABLE] = str(self._folder)
        # chosen when prometheus_client was imported; metrics look it up when they are made (metrics.py)
        values.ValueClass = values.get_value_class()

    def registry(self, pids: Callable[[], Collection[int]]) -> CollectorRegistry:
        """Give what serves the sums; `pids` gives the ids of the pool's living processes."""
        if self._folder is None:
            raise RuntimeError("begin comes first")
        registry = CollectorRegistry()
        registry.register(_PoolCollector(self._folder, pids))
        ProcessCollector(registry=registry)
        return registry

    def end(self) -> None:
        """Remove the files, if there are any."""
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


class _PoolCollector(Collector):
    """Adds the files up, after it has taken those of dead processes together: a pool may lose many in its life."""

    def __init__(self, folder: Path, pids: Callable[[], Collection[int]]) -> None:
        self._folder = folder
        self._pids = pids
        self._files = MultiProcessCollector(None, str(folder))
        self._lock = threading.Lock()

    def collect(self) -> Iterable[Metric]:
        """Give the sums over all processes."""
        with self._lock:
            self._bury()
            found: Iterable[Metric] = self._files.collect()
            return found

    def _bury(self) -> None:
        living = {os.getpid(), _THE_DEAD, *self._pids()}
        for file in self._folder.glob("*.db"):
            kind, _, pid = file.stem.rpartition("_")
            # a child that was forked this moment may not be among the pool's yet
            if int(pid) not in living and not _exists(int(pid)):
                if not kind.startswith("gauge_live"):
                    _add(file, self._folder / f"{kind}_{_THE_DEAD}.db", max if kind == "gauge_max" else _sum)
                file.unlink()


def _sum(one: float, other: float) -> float:
    return one + other


def _add(file: Path, total: Path, joined: Callable[[float, float], float]) -> None:
    """Join a file's values to those of another one."""
    totals = MmapedDict(str(total))
    try:
        for key, value, timestamp, _ in MmapedDict.read_all_values_from_file(str(file)):
            totals.write_value(key, joined(totals.read_value(key)[0], value), timestamp)
    finally:
        totals.close()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


#: This worker's own; children inherit it.
POOL_METRICS = PoolMetrics()
