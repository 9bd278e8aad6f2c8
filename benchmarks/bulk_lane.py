"""What a bulk run costs a click: `python -m benchmarks.bulk_lane`.

Lone clicks on an idle system, and while a run of thousands is submitted and worked on; and how fast a run goes, with
and without clicks, against a flood of clicks. The same workers do all. Rounds alternate, so that what else the machine
does falls on all.
"""

import json
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import click
from rich.console import Console
from rich.table import Table

from benchmarks.calm import wait_calm
from benchmarks.latency import lone_requests
from benchmarks.product import Product
from benchmarks.report import Setting
from benchmarks.servers import bench_servers, new_installation
from benchmarks.workload import Shape, Workload
from devstack.ports import HOST
from devstack.schema import AggregateLayout, create_keyspace, drop_keyspace
from devstack.stack import Stack
from reconciliation.settings_kafka import BULK_SUFFIX
from tests.support.installation import Installation, unique
from tests.support.processes import Process
from tests.support.relations import RelationSets
from tests.support.tables import Learner

_PAUSE_SECONDS = 0.05
_LOOK_SECONDS = 0.02
# looks once a millisecond, as elsewhere, would keep Cassandra busier than the clicks do
_CLICK_LOOK_SECONDS = 0.004
_LIMIT_SECONDS = 600.0
#: A run is under way when so many of its requests have ended.
_UNDER_WAY = 100


@dataclass(slots=True)
class Found:
    """Milliseconds of lone clicks, and requests settled in a second: by kind, those of all rounds."""

    idle_ms: list[float] = field(default_factory=list)
    beside_ms: list[float] = field(default_factory=list)
    clicks_alone: list[float] = field(default_factory=list)
    run_alone: list[float] = field(default_factory=list)
    run_beside: list[float] = field(default_factory=list)


class Driver:
    """A run that a process of its own submits."""

    def __init__(
        self, installation: Installation, learners: Sequence[Learner], folder: Path, rate: float | None
    ) -> None:
        self.run_id = f"bench-{uuid.uuid4().hex[:8]}"
        order = folder / f"{self.run_id}.json"
        pages = [[it.ids for it in learners]]
        bounds = {"resume": False, "rate": rate, "most_given_up": 100, "lease": 60.0}
        order.write_text(json.dumps({"run_id": self.run_id, "pages": pages, **bounds}), encoding="utf-8")
        command = [sys.executable, "-m", "tests.support.bulk_driver", str(order)]
        self.process = Process("driver", command, installation.settings, order.with_suffix(".log"))
        self._installation = installation
        self._key = f"enrolment-reconciliation:{{{installation.group_id}}}:"

    def settled(self) -> int:
        """How many of its requests have ended."""
        redis = self._installation.redis
        submitted = int(redis.hget(f"{self._key}bulk:run:{self.run_id}", "submitted") or 0)
        return submitted - int(redis.zcard(f"{self._key}open:bulk:{self.run_id}:0"))

    def wait_settled(self, requests: int) -> None:
        """Wait until so many of its requests have ended."""
        ends = time.monotonic() + _LIMIT_SECONDS
        while self.settled() < requests:
            if time.monotonic() > ends or not self.process.is_running:
                raise TimeoutError(self.process.told())
            time.sleep(_LOOK_SECONDS)

    def rate_until(self, requests: int) -> float:
        """Give how many of its requests end in a second from now until so many have ended."""
        began, before = time.monotonic(), self.settled()
        self.wait_settled(requests)
        return (requests - before) / (time.monotonic() - began)


def measure(
    product: Product,
    stack: Stack,
    workload: Workload,
    random: Random,
    *,
    clicks: int,
    rounds: int,
    rate: float | None,
) -> Found:
    """Measure rounds of: a flood of clicks, a run, lone clicks, and lone clicks beside a run."""
    found, installation = Found(), product.installation
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            learners = workload.add_round().shuffled(random)
            share = (len(learners) - 2 * clicks) // 4
            idle, beside, rest = learners[:clicks], learners[clicks : 2 * clicks], learners[2 * clicks :]
            flood, run, run_beside = rest[:share], rest[share : 2 * share], rest[2 * share :]
            wait_calm(stack)
            found.clicks_alone.append(share / product.run(flood).seconds)
            wait_calm(stack)
            with _driving(Driver(installation, run, Path(folder), rate)) as driver:
                driver.wait_settled(_UNDER_WAY)
                found.run_alone.append(driver.rate_until(share))
            wait_calm(stack)
            found.idle_ms += lone_requests(installation, idle, _PAUSE_SECONDS, _CLICK_LOOK_SECONDS)
            with _driving(Driver(installation, run_beside, Path(folder), rate)) as driver:
                driver.wait_settled(_UNDER_WAY)
                began, before = time.monotonic(), driver.settled()
                took = lone_requests(installation, beside, _PAUSE_SECONDS, _CLICK_LOOK_SECONDS)
                if driver.settled() >= len(run_beside):
                    raise click.ClickException("the run ended before the clicks did: give more --learners")
                found.beside_ms += took
                found.run_beside.append((driver.settled() - before) / (time.monotonic() - began))
    return found


@contextmanager
def _driving(driver: Driver) -> Iterator[Driver]:
    """Have a run driven, and wait for its end."""
    driver.process.start()
    try:
        yield driver
        driver.process.wait(_LIMIT_SECONDS)
    finally:
        driver.process.kill()


def _part(installation: Installation) -> None:
    """Have every other worker take clicks alone, and the others runs alone."""
    for number, worker in enumerate(installation.workers):
        worker.add_arguments("-Q", f"{installation.group_id}{BULK_SUFFIX if number % 2 else ''}")


def show(console: Console, found: Found, title: str) -> None:
    """Print medians, 99th percentiles, rates, and their ratios."""
    table = Table(title=title)
    for heading in ("", "clicks", "median ms", "99 % ms"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, took in (("no run", found.idle_ms), ("beside a run", found.beside_ms)):
        table.add_row(name, str(len(took)), f"{statistics.median(took):.1f}", f"{_percentile(took):.1f}")
    medians = statistics.median(found.beside_ms) / statistics.median(found.idle_ms)
    ratio = _percentile(found.beside_ms) / _percentile(found.idle_ms)
    table.add_row("ratio", "", f"{medians:.2f}", f"{ratio:.2f}")
    console.print(table)
    rates = Table(title="Requests a second (median of the rounds)")
    for heading in ("", "requests/s", "of clicks' rate"):
        rates.add_column(heading, justify="right" if heading else "left")
    usual = statistics.median(found.clicks_alone)
    named = ("clicks alone", found.clicks_alone), ("a run alone", found.run_alone), ("a run beside", found.run_beside)
    for name, rate in named:
        rates.add_row(name, f"{statistics.median(rate):,.0f}", f"{statistics.median(rate) / usual:.2f}")
    console.print(rates)


def _percentile(took: Sequence[float]) -> float:
    return statistics.quantiles(took, n=100, method="inclusive")[98]


@click.command()
@click.option("--learners", type=click.IntRange(500), default=10_000, show_default=True, help="How many a round.")
@click.option("--clicks", type=click.IntRange(10), default=60, show_default=True, help="Lone clicks of each kind.")
@click.option("--rounds", type=click.IntRange(1), default=2, show_default=True)
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True)
@click.option("--bulk-group-size", type=click.IntRange(1), multiple=True, default=(100,), show_default=True)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Requests of the run in a second at most.")
@click.option("--apart", is_flag=True, help="Half of the workers take clicks alone, the others runs alone (-Q).")
@click.option("--use-stack", is_flag=True, help="Use the servers of `make stack` instead of servers of this run's own.")
def main(
    learners: int,
    clicks: int,
    rounds: int,
    workers: int,
    bulk_group_size: tuple[int, ...],
    rate: float | None,
    apart: bool,
    use_stack: bool,
) -> None:
    """Measure what a bulk run costs a click, and what it gets done meanwhile."""
    console, random = Console(), Random(1)
    keyspace = unique("bench").replace("-", "_")
    with bench_servers(use_stack=use_stack) as (stack, logs):
        create_keyspace(HOST, stack.ports.cassandra, keyspace, AggregateLayout.USER_IN_PARTITION)
        try:
            with closing(RelationSets(HOST, stack.ports.redis, 10)) as relations:
                workload = Workload(Shape(learners=learners), stack.ports.cassandra, keyspace, relations, random)
                for size in bulk_group_size:
                    settings = {"BULK_GROUP_SIZE": str(size)}
                    setting = Setting(workers, 100, 4)
                    with new_installation(stack, keyspace, logs, setting, settings=settings) as installation:
                        if apart:
                            _part(installation)
                        product = Product(installation.start(), stack)
                        product.run(workload.add_round().shuffled(random))
                        found = measure(product, stack, workload, random, clicks=clicks, rounds=rounds, rate=rate)
                        how = ", half of them for the run alone" if apart else ""
                        show(console, found, f"{workers} workers of 4 threads{how}; {size} requests of the run a task")
        finally:
            drop_keyspace(HOST, stack.ports.cassandra, keyspace)


if __name__ == "__main__":
    main()
