"""What a run found: a table for people, JSON for everything else."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.bare_loop import BareResult
from benchmarks.product import ProductResult
from benchmarks.workload import Shape

_SERVERS = ("kafka", "cassandra", "redis")


@dataclass(frozen=True, slots=True)
class Setting:
    """What the product ran with."""

    workers: int
    group_size: int
    threads: int


@dataclass(slots=True)
class Compared:
    """The rounds of one setting, each beside a run of the bare loop."""

    setting: Setting
    product: list[ProductResult] = field(default_factory=list)
    bare: list[BareResult] = field(default_factory=list)


@dataclass(slots=True)
class Findings:
    """Everything that a run measured."""

    shape: Shape
    layout: str
    cores: int
    compared: list[Compared] = field(default_factory=list)
    lone_requests_ms: list[float] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Write it all as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def show(console: Console, found: Findings) -> None:
    """Print the tables."""
    for compared in found.compared:
        console.print(_throughput(found, compared))
        console.print(_processes(found, compared))
    if found.lone_requests_ms:
        console.print(_latency(found.lone_requests_ms))


def _throughput(found: Findings, compared: Compared) -> Table:
    setting, count = compared.setting, found.shape.learners
    table = Table(
        title=f"{count:,} requests a round; {setting.workers} workers of {setting.threads} threads, "
        f"groups of {setting.group_size}; {found.cores} cores; key layout {found.layout}"
    )
    for heading in ("", "median", "least", "most"):
        table.add_column(heading, justify="right" if heading else "left")
    ratios = [bare.seconds / product.seconds for product, bare in zip(compared.product, compared.bare, strict=True)]
    _add(table, "the product, requests/s", [count / it.seconds for it in compared.product], ",.0f")
    _add(table, "the bare loop, requests/s", [count / it.seconds for it in compared.bare], ",.0f")
    _add(table, "product / bare loop", ratios, ".2f")
    _add(
        table,
        "bridge and workers, ms of CPU a request",
        [sum(_own(it.cpu_seconds).values()) / count * 1000 for it in compared.product],
        ".2f",
    )
    _add(table, "the bare loop, ms of CPU a request", [it.cpu_seconds / count * 1000 for it in compared.bare], ".2f")
    return table


def _processes(found: Findings, compared: Compared) -> Table:
    table = Table(title="by process, median")
    for heading in ("", "ms of CPU a request", "MiB at the end"):
        table.add_column(heading, justify="right" if heading else "left")
    for name in compared.product[0].cpu_seconds:
        spent = statistics.median(it.cpu_seconds[name] for it in compared.product)
        held = statistics.median(it.resident_megabytes[name] for it in compared.product)
        table.add_row(name, f"{spent / found.shape.learners * 1000:.2f}", f"{held:.0f}")
    return table


def _latency(took: Sequence[float]) -> Table:
    table = Table(title=f"{len(took)} lone requests, ms from the event's time to the row")
    for heading in ("median", "p90", "p99", "most"):
        table.add_column(heading, justify="right")
    cuts = statistics.quantiles(took, n=100)
    table.add_row(*(f"{value:.0f}" for value in (statistics.median(took), cuts[89], cuts[98], max(took))))
    return table


def _add(table: Table, name: str, values: Sequence[float], form: str) -> None:
    table.add_row(name, *(format(value, form) for value in (statistics.median(values), min(values), max(values))))


def _own(by_process: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in by_process.items() if name not in _SERVERS}
