"""How fast whole tables are looked through: `python -m benchmarks.bulk_scan`, on servers of its own.

Tables are filled with enrolments of which a hidden few are stuck, of each kind; the scan has to find exactly those. It
prints how many enrolments a second that were, what each process spent and held over time, and writes it all as JSON.
Exit code 1 where anything else was found.
"""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.hidden_stuck import HiddenShape, HiddenStuck
from benchmarks.processes import usage
from benchmarks.servers import bench_servers
from bulk.model import Reason, Selection
from bulk.options import ScanOptions
from bulk.scan import Scan
from devstack.cassandra import session
from devstack.ports import HOST
from devstack.schema import create_keyspace, drop_keyspace
from devstack.stack import Stack
from reconciliation.model import EnrolmentKey
from reconciliation.settings import load_settings
from tests.support.installation import unique
from tests.support.relations import RelationSets
from tests.support.search import SearchService

_SAMPLE_SECONDS = 0.5


@dataclass(slots=True)
class Measured:
    """One scan: seconds, what was found, and MiB of each process over time (seconds, MiB)."""

    aggregates: bool
    seconds: float = 0.0
    first_slice_seconds: float = 0.0
    enrolments: int = 0
    slices: int = 0
    found: int = 0
    unjudged: int = 0
    missed: list[str] = field(default_factory=list)
    too_many: list[str] = field(default_factory=list)
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    megabytes: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    @property
    def is_exact(self) -> bool:
        """Whether what was hidden was found, and nothing else."""
        return not self.missed and not self.too_many


class Watch:
    """Samples this process and its readers until its block ends."""

    def __init__(self, scan: Scan, measured: Measured, cassandra: int | None) -> None:
        self._scan = scan
        self._measured = measured
        self._cassandra = cassandra
        self._began = time.monotonic()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._spent: dict[str, float] = {}
        self._before = self._own_spent()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._spent |= {name: spent - self._before[name] for name, spent in self._own_spent().items()}
        self._measured.cpu_seconds = {name: round(spent, 1) for name, spent in self._spent.items()}

    def _own_spent(self) -> dict[str, float]:
        spent = psutil.Process().cpu_times()
        servers = {} if self._cassandra is None else {"cassandra": usage(self._cassandra).cpu_seconds}
        return {"this process": spent.user + spent.system, **servers}

    def _run(self) -> None:
        while not self._end.wait(_SAMPLE_SECONDS):
            at = round(time.monotonic() - self._began, 1)
            named = {f"reader {number}": pid for number, pid in enumerate(self._scan.pids(), 1)}
            for name, pid in {"this process": psutil.Process().pid, **named}.items():
                try:
                    process = psutil.Process(pid)
                    held, spent = process.memory_info().rss / 2**20, process.cpu_times()
                except psutil.NoSuchProcess:
                    continue
                self._measured.megabytes.setdefault(name, []).append((at, round(held, 1)))
                if name != "this process":
                    self._spent[name] = spent.user + spent.system


def measure(
    hidden: HiddenStuck, environment: Mapping[str, str], cassandra: int | None, options: ScanOptions
) -> Measured:
    """Look through the tables once and compare what was found with what was hidden."""
    measured = Measured(options.aggregates)
    selection = Selection(stuck=True, missing_certificates=True)
    found: dict[EnrolmentKey, tuple[Reason, ...]] = {}
    unjudged: set[EnrolmentKey] = set()
    with Scan(load_settings(environment), options) as scan, Watch(scan, measured, cassandra):
        began = time.monotonic()
        for looked in scan.slices(selection, None, threading.Event()):
            measured.first_slice_seconds = measured.first_slice_seconds or time.monotonic() - began
            measured.enrolments += looked.looked_at
            measured.slices += 1
            found |= {it.enrolment: it.reasons for it in looked.found}
            unjudged |= {it.enrolment for it in looked.unjudged}
        measured.seconds = time.monotonic() - began
    expected = {
        key: reasons
        for key, reasons in hidden.expected.items()
        if options.aggregates or reasons != (Reason.AGGREGATES,)
    }
    measured.found, measured.unjudged = len(found), len(unjudged)
    measured.missed = [str(it) for it in (expected.items() - found.items()) | (hidden.unjudged - unjudged)]
    measured.too_many = [str(it) for it in (found.items() - expected.items()) | (unjudged - hidden.unjudged)]
    return measured


@contextmanager
def closing_down(stack: Stack, search: SearchService) -> Iterator[Mapping[str, str]]:
    """Give the settings that lead to tables of this run's own; drop these and end the search service at the end."""
    keyspace = unique("bench").replace("-", "_")
    create_keyspace(HOST, stack.ports.cassandra, keyspace)
    try:
        yield {
            "LMS_CASSANDRA_PORT": str(stack.ports.cassandra),
            "LMS_CASSANDRA_KEYSPACE": keyspace,
            "LMS_CASSANDRA_TIMEOUT": "30",
            "REDIS_PORT": str(stack.ports.redis),
            "SERVICE_SEARCH_BASEPATH": search.base_path,
        }
    finally:
        drop_keyspace(HOST, stack.ports.cassandra, keyspace)
        search.stop()


@click.command()
@click.option("--enrolments", default=200_000, show_default=True, help="How many enrolments there are.")
@click.option("--contents", default=10, show_default=True, help="How many contents a course has.")
@click.option("--courses", default=50, show_default=True, help="How many courses.")
@click.option("--stuck", default=0.03, show_default=True, help="The share that is hidden, over all kinds.")
@click.option("--processes", default=2, show_default=True, help="How many processes read.")
@click.option("--seed", default=1, show_default=True, help="What is drawn.")
@click.option("--use-stack", is_flag=True, help="Use the servers of `make stack` or DEVSTACK_*_PORT.")
@click.option("--json", "report", type=click.Path(path_type=Path, dir_okay=False), help="Write the figures here.")
def main(
    enrolments: int,
    contents: int,
    courses: int,
    stuck: float,
    processes: int,
    seed: int,
    use_stack: bool,
    report: Path | None,
) -> None:
    """Measure the scan of bulk runs, with aggregates and without."""
    console = Console()
    shape = HiddenShape(enrolments, courses, contents, stuck, seed)
    search = SearchService(statuses={"do_retired": "Retired"})
    search.start()
    with bench_servers(use_stack=use_stack) as (stack, _), closing_down(stack, search) as environment:
        hidden = _filled(console, stack, environment["LMS_CASSANDRA_KEYSPACE"], shape)
        pid = stack.server("cassandra").pid
        results = [
            measure(hidden, environment, pid, ScanOptions(processes, aggregates=aggregates))
            for aggregates in (True, False)
        ]
    for measured in results:
        console.print(_table(measured))
    if report is not None:
        report.write_text(json.dumps({"shape": asdict(shape), "scans": [asdict(it) for it in results]}, indent=1))
    if not all(it.is_exact for it in results):
        raise SystemExit(1)


def _filled(console: Console, stack: Stack, keyspace: str, shape: HiddenShape) -> HiddenStuck:
    hidden = HiddenStuck(shape)
    with closing(RelationSets(HOST, stack.ports.redis, 10)) as relations:
        relations.fill_sets(hidden.sets())
    began = time.monotonic()
    with session(HOST, stack.ports.cassandra) as connected:
        connected.set_keyspace(keyspace)
        hidden.fill(connected)
    console.print(f"filled {shape.enrolments:,} enrolments in {time.monotonic() - began:.0f} s")
    return hidden


def _table(measured: Measured) -> Table:
    title = f"{measured.enrolments:,} enrolments, {'with' if measured.aggregates else 'without'} aggregates"
    table = Table("", "", title=title)
    table.columns[1].justify = "right"
    table.add_row("enrolments/s", f"{measured.enrolments / measured.seconds:,.0f}")
    table.add_row("seconds; to the first slice", f"{measured.seconds:.1f}; {measured.first_slice_seconds:.1f}")
    table.add_row("found, not judged", f"{measured.found:,}, {measured.unjudged:,}")
    table.add_row("missed, too many", f"{len(measured.missed)}, {len(measured.too_many)}")
    for name, spent in measured.cpu_seconds.items():
        table.add_row(f"{name}: seconds of CPU", f"{spent:.1f}")
    for name, samples in measured.megabytes.items():
        held = [megabytes for _, megabytes in samples]
        middle = held[len(held) // 2]
        table.add_row(f"{name}: MiB halfway, at the end, at most", f"{middle:.0f}, {held[-1]:.0f}, {max(held):.0f}")
    return table


if __name__ == "__main__":
    main()
