"""`make bench`: the product and the bare loop in turn, on servers of this run's own."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

import click
from rich.console import Console

from benchmarks.bare_loop import run_bare_loop
from benchmarks.calm import wait_calm
from benchmarks.latency import lone_requests
from benchmarks.product import Product
from benchmarks.report import Compared, Findings, Setting, show
from benchmarks.servers import bench_servers, new_installation
from benchmarks.workload import Shape, Workload
from devstack.ports import HOST
from devstack.schema import AggregateLayout, create_keyspace, drop_keyspace
from devstack.stack import Stack
from tests.support.installation import unique
from tests.support.relations import RelationSets

_WARM_UP = 5_000
_LONE_PAUSE = 0.05


class Bench:
    """One run: servers, a workload, and what is measured on them."""

    def __init__(self, console: Console, stack: Stack, logs: Path, shape: Shape, layout: AggregateLayout) -> None:
        self._console = console
        self._stack = stack
        self._logs = logs
        self._keyspace = unique("bench").replace("-", "_")
        create_keyspace(HOST, stack.ports.cassandra, self._keyspace, layout)
        self._random = Random(1)
        with closing(RelationSets(HOST, stack.ports.redis, 10)) as relations:
            self._workload = Workload(shape, stack.ports.cassandra, self._keyspace, relations, self._random)

    def close(self) -> None:
        """Drop the tables; servers that are used on keep no rows of it."""
        drop_keyspace(HOST, self._stack.ports.cassandra, self._keyspace)

    def compare(self, setting: Setting, rounds: int) -> Compared:
        """Let the product and the bare loop do rounds in turn, each on learners of its own."""
        compared = Compared(setting)
        with self.running(setting) as product:
            # Java compiles what it has seen often: the first thousands of requests are slow on either side
            learners = self._workload.add_round().shuffled(self._random)[:_WARM_UP]
            run_bare_loop(self._stack.ports, self._keyspace, learners[: len(learners) // 5])
            product.run(learners)
            for number in range(rounds):
                for side in ("product", "bare") if number % 2 else ("bare", "product"):
                    learners = self._workload.add_round().shuffled(self._random)
                    wait_calm(self._stack)
                    if side == "bare":
                        compared.bare.append(run_bare_loop(self._stack.ports, self._keyspace, learners))
                    else:
                        compared.product.append(product.run(learners))
                    self._tell(compared, side)
        return compared

    def lone(self, setting: Setting, count: int) -> list[float]:
        """Measure lone requests."""
        with self.running(setting) as product:
            learners = self._workload.add_round().shuffled(self._random)
            product.run(learners[count:])
            wait_calm(self._stack)
            return lone_requests(product.installation, learners[:count], _LONE_PAUSE)

    @contextmanager
    def running(self, setting: Setting) -> Iterator[Product]:
        """Run a bridge and workers on names of their own, and end them in order."""
        with new_installation(self._stack, self._keyspace, self._logs, setting) as installation:
            yield Product(installation.start(), self._stack)

    def _tell(self, compared: Compared, side: str) -> None:
        seconds = (compared.bare if side == "bare" else compared.product)[-1].seconds
        rate = self._workload.shape.learners / seconds
        name = "the bare loop" if side == "bare" else f"the product ({compared.setting.workers} workers)"
        self._console.print(f"{name}: {rate:,.0f} requests/s", highlight=False)


@click.command()
@click.option("--learners", type=click.IntRange(100), default=10_000, show_default=True, help="How many a round.")
@click.option("--courses", type=click.IntRange(1), default=50, show_default=True)
@click.option("--units", type=click.IntRange(1), default=6, show_default=True, help="Units of a course.")
@click.option("--contents", type=click.IntRange(1), default=5, show_default=True, help="Contents of a unit.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Rounds of each side.")
@click.option("--workers", type=click.IntRange(1), multiple=True, default=(3,), show_default=True)
@click.option("--group-size", type=click.IntRange(1), multiple=True, default=(100,), show_default=True)
@click.option("--threads", type=click.IntRange(1), default=4, show_default=True, help="Threads of a worker.")
@click.option("--lone", type=click.IntRange(0), default=200, show_default=True, help="How many lone requests.")
@click.option("--other-layout", is_flag=True, help="Use the second key layout of user_activity_agg.")
@click.option("--use-stack", is_flag=True, help="Use the servers of `make stack` instead of servers of this run's own.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write everything measured to this file.")
def main(  # noqa: PLR0917 - one option each
    learners: int,
    courses: int,
    units: int,
    contents: int,
    rounds: int,
    workers: tuple[int, ...],
    group_size: tuple[int, ...],
    threads: int,
    lone: int,
    other_layout: bool,
    use_stack: bool,
    json_path: Path | None,
) -> None:
    """Measure the product against a bare loop over the drivers, in turn, on servers of this run's own."""
    console = Console()
    layout = AggregateLayout.USER_IN_CLUSTERING if other_layout else AggregateLayout.USER_IN_PARTITION
    shape = Shape(learners, courses, units, contents)
    found = Findings(shape, layout.value, os.cpu_count() or 1)
    with bench_servers(use_stack=use_stack) as (stack, logs):
        settings = [Setting(count, size, threads) for count in workers for size in group_size]
        with closing(Bench(console, stack, logs, shape, layout)) as bench:
            for setting in settings:
                found.compared.append(bench.compare(setting, rounds))
            if lone:
                found.lone_requests_ms = bench.lone(settings[0], lone)
    show(console, found)
    if json_path is not None:
        found.write(json_path)


if __name__ == "__main__":
    main()
