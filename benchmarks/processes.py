"""How much CPU and memory processes take."""

from collections.abc import Mapping
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Usage:
    """Seconds of CPU that a process and what it started have spent, and MiB that they hold."""

    cpu_seconds: float
    resident_megabytes: float


def usage(pid: int) -> Usage:
    """Tell what a process and its children have used."""
    family = [psutil.Process(pid)]
    family += family[0].children(recursive=True)
    times = [process.cpu_times() for process in family]
    return Usage(
        cpu_seconds=sum(spent.user + spent.system for spent in times),
        resident_megabytes=sum(process.memory_info().rss for process in family) / 2**20,
    )


def usages(pids: Mapping[str, int]) -> dict[str, Usage]:
    """Tell it of each of these, by the name given."""
    return {name: usage(pid) for name, pid in pids.items()}
