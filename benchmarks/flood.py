"""A flood: `python -m benchmarks.flood`. Many clicks of the same learners wait on the topic before anybody takes one.

What it shows: memory of bridge, workers and Redis stays level, and the end goes as fast as the beginning. Most clicks
join one that waits already or find the enrolment completed, so these are counted apart.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from random import Random

import click
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.processes import usages
from benchmarks.product import Product
from benchmarks.report import Setting
from benchmarks.servers import bench_servers, new_installation
from benchmarks.workload import Shape, Workload
from devstack.ports import HOST
from devstack.schema import AggregateLayout, create_keyspace, drop_keyspace
from tests.support.installation import Installation, unique
from tests.support.relations import RelationSets
from tests.support.tables import Learner

_SENT_AT_ONCE = 20_000
_LOOK_SECONDS = 0.5
_LIMIT_SECONDS = 7_200.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One look: seconds since the start, requests settled by then, and MiB by process and of Redis' data."""

    seconds: float
    settled: int
    megabytes: dict[str, float]
    redis_data: float


@click.command()
@click.option("--learners", type=click.IntRange(100), default=10_000, show_default=True)
@click.option("--clicks", type=click.IntRange(1), default=100, show_default=True, help="Of each learner.")
@click.option("--workers", type=click.IntRange(1), default=3, show_default=True)
@click.option("--group-size", type=click.IntRange(1), default=100, show_default=True)
@click.option("--use-stack", is_flag=True, help="Use the servers of `make stack` instead of servers of this run's own.")
def main(learners: int, clicks: int, workers: int, group_size: int, use_stack: bool) -> None:
    """Let learners x clicks requests wait, then start everything and watch."""
    console, random = Console(), Random(1)
    keyspace = unique("bench").replace("-", "_")
    with bench_servers(use_stack=use_stack) as (stack, logs):
        create_keyspace(HOST, stack.ports.cassandra, keyspace, AggregateLayout.USER_IN_PARTITION)
        try:
            with closing(RelationSets(HOST, stack.ports.redis, 10)) as relations:
                workload = Workload(Shape(learners=learners), stack.ports.cassandra, keyspace, relations, random)
                everyone = workload.add_round().shuffled(random)
            with new_installation(stack, keyspace, logs, Setting(workers, group_size, 4)) as installation:
                _send(installation, everyone, clicks, random)
                console.print(f"{learners * clicks:,} requests of {learners:,} learners wait", highlight=False)
                product = Product(installation.start(), stack)
                samples = list(_watch(product, learners * clicks))
                show(console, samples, _outcomes(installation, learners * clicks))
        finally:
            drop_keyspace(HOST, stack.ports.cassandra, keyspace)


def _send(installation: Installation, everyone: Sequence[Learner], clicks: int, random: Random) -> None:
    waiting: list[Learner] = []
    for _ in range(clicks):
        waiting += random.sample(everyone, len(everyone))
        if len(waiting) >= _SENT_AT_ONCE:
            installation.send(*waiting)
            waiting = []
    installation.send(*waiting)


def _watch(product: Product, total: int) -> Iterator[Sample]:
    """Look at the flow until all are settled: a sample at each twentieth, and the first and last."""
    installation, began, settled, next_at = product.installation, time.monotonic(), 0, 0
    while settled < total:
        if time.monotonic() - began > _LIMIT_SECONDS:
            raise TimeoutError(f"not everything was settled within {_LIMIT_SECONDS:.0f} s")
        installation.watch()
        settled = sum(installation.committed().values()) - installation.open_count()
        if settled >= next_at:
            held = {name: used.resident_megabytes for name, used in usages(product.parts()).items()}
            data = int(installation.redis.info("memory")["used_memory"]) / 2**20
            yield Sample(time.monotonic() - began, settled, held, data)
            next_at = settled - settled % max(1, total // 20) + max(1, total // 20)
        time.sleep(_LOOK_SECONDS)


def _outcomes(installation: Installation, total: int) -> dict[str, int]:
    """Say what became of the clicks: reconciled, found completed, or joined to one that waited."""
    workers = [name for name in installation.metrics_ports if name.startswith("worker")]

    def summed(metric: str, **labels: str) -> int:
        return int(sum(installation.measured(worker, metric, **labels) for worker in workers))

    attempted = summed("request_age_seconds_count", outcome="done")
    completed_before = summed("processed_enrolment_count_total")
    return {
        "reconciled": attempted - completed_before,
        "found completed already": completed_before,
        "joined to one that waited": total - attempted,
        "certificates": len(installation.certificates.records()),
    }


def show(console: Console, samples: Sequence[Sample], outcomes: dict[str, int]) -> None:
    """Print what each look found, and the rate since the look before."""
    names = list(samples[-1].megabytes)
    workers = [name for name in names if name.startswith("worker")]
    others = [name for name in names if name not in workers]
    title = "requests/s since the row before; MiB resident by process; of Redis' the data"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("settled", "requests/s", "workers", *others, "data"):
        # narrow enough for 80 columns, so that no figure is cut off
        table.add_column(heading, justify="right", no_wrap=True)
    before = samples[0]
    for sample in samples:
        since = sample.seconds - before.seconds
        rate = (sample.settled - before.settled) / since if since else 0.0
        together = " ".join(f"{sample.megabytes[name]:.0f}" for name in workers)
        held = (f"{sample.megabytes[name]:.0f}" for name in others)
        table.add_row(f"{sample.settled:,}", f"{rate:,.0f}", together, *held, f"{sample.redis_data:.1f}")
        before = sample
    console.print(table)
    for name, count in outcomes.items():
        console.print(f"{name}: {count:,}", highlight=False)


if __name__ == "__main__":
    main()
