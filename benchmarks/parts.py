"""What each part costs: `python -m benchmarks.parts`. The same load with ever less behind it.

Whole; with servers that answer the workers at once; and with nothing left to reconcile, so that bridge, broker, ledger
and task remain. The differences are what the parts cost a request.
"""

import statistics
from contextlib import closing
from random import Random

import click
from rich.console import Console
from rich.table import Table

from benchmarks.instant_worker import WITHOUT
from benchmarks.product import Product, ProductResult
from benchmarks.report import Setting
from benchmarks.servers import bench_servers, new_installation
from benchmarks.workload import Shape, Workload
from devstack.ports import HOST
from devstack.schema import AggregateLayout, create_keyspace, drop_keyspace
from tests.support.installation import unique
from tests.support.processes import celery_worker
from tests.support.relations import RelationSets

#: What is left of the product at each level, and how it is told.
LEVELS = {
    "": "the whole product",
    "servers": "without Cassandra, relation sets, confirmations",
    "reconciler": "bridge, broker, ledger and task alone",
}


@click.command()
@click.option("--learners", type=click.IntRange(100), default=5_000, show_default=True, help="How many a round.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Of each level, after a warm-up.")
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True)
@click.option("--group-size", type=click.IntRange(1), multiple=True, default=(25, 100), show_default=True)
@click.option("--use-stack", is_flag=True, help="Use the servers of `make stack` instead of servers of this run's own.")
def main(learners: int, rounds: int, workers: int, group_size: tuple[int, ...], use_stack: bool) -> None:
    """Measure the same load with ever less behind it."""
    console, random = Console(), Random(1)
    keyspace = unique("bench").replace("-", "_")
    instant = celery_worker("benchmarks.instant_worker")
    with bench_servers(use_stack=use_stack) as (stack, logs):
        create_keyspace(HOST, stack.ports.cassandra, keyspace, AggregateLayout.USER_IN_PARTITION)
        try:
            with closing(RelationSets(HOST, stack.ports.redis, 10)) as relations:
                workload = Workload(Shape(learners=learners), stack.ports.cassandra, keyspace, relations, random)
                for size in group_size:
                    found: dict[str, list[ProductResult]] = {}
                    for level in LEVELS:
                        setting = Setting(workers, size, 4)
                        without = {WITHOUT: level} if level else {}
                        with new_installation(
                            stack, keyspace, logs, setting, worker=instant, settings=without
                        ) as installation:
                            product = Product(installation.start(), stack)
                            product.run(workload.add_round().shuffled(random))
                            found[level] = [product.run(workload.add_round().shuffled(random)) for _ in range(rounds)]
                    console.print(table(found, learners, f"{workers} workers, groups of {size}"))
        finally:
            drop_keyspace(HOST, stack.ports.cassandra, keyspace)


def table(found: dict[str, list[ProductResult]], learners: int, title: str) -> Table:
    """Give requests a second and ms of CPU a request by process, a row a level.

    Redis is left out where its process is not ours (`--use-stack`).
    """
    rounds = next(iter(found.values()))
    made = Table(title=f"median of {len(rounds)} rounds of {learners:,}; {title}; ms of CPU a request")
    parts = [part for part in ("bridge", "worker", "redis") if part in map(_part, rounds[0].cpu_seconds)]
    for heading in ("", "requests/s", *parts):
        made.add_column(heading, justify="right" if heading else "left")
    for level, results in found.items():
        rate = statistics.median(learners / it.seconds for it in results)
        spent = (statistics.median(_spent(it, part) for it in results) / learners * 1000 for part in parts)
        made.add_row(LEVELS[level], f"{rate:,.0f}", *(f"{each:.3f}" for each in spent))
    return made


def _spent(result: ProductResult, part: str) -> float:
    return sum(seconds for name, seconds in result.cpu_seconds.items() if _part(name) == part)


def _part(process: str) -> str:
    """Give the part that a process belongs to: worker1 and worker2 are workers."""
    return process.rstrip("0123456789")


if __name__ == "__main__":
    main()
