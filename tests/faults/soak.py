"""A long load under random faults: `python -m tests.faults.soak`, or `make soak`.

It starts servers, bridges and workers of its own, keeps them busy, does them harm, lets everything settle, and says
what became of it. The exit code is 0 only where nothing was lost and nothing downgraded, and nothing but poison was
given up. Nothing stays behind, but for the processes' logs where something was wrong.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from random import Random

import click
import psutil
from rich.console import Console

from demo.interrupts import Interrupts
from devstack.errors import DevstackError
from devstack.ports import free_port, free_ports
from devstack.report import progress
from devstack.stack import Stack
from tests.faults.load import Load
from tests.faults.mischief import Mischief
from tests.faults.poisonous import HARMS, POISON, innocents_and
from tests.faults.servers import keep, wait_flowing
from tests.faults.site import Site
from tests.faults.soak_report import Result, judge, show, write_evidence
from tests.support.broker import rabbitmq_url
from tests.support.run import RABBITMQ, is_rabbitmq
from tests.support.tables import Learner

#: How long the flow may take to go on after a fault, in seconds.
FLOW_LIMIT = 240.0
#: How long everything may take to be settled in the end, in seconds.
SETTLE_LIMIT = 600.0

_INTERRUPTED = 130

#: Poison is convicted soon; the limit is still longer than any wait for a server that hangs here.
_POISON_SETTINGS: Mapping[str, str] = {
    "PYTHONPATH": POISON,
    "RETRY_ATTEMPTS": "4",
    "RETRY_BACKOFF_FIRST": "2",
    "ATTEMPT_LIMIT": "30",
}


class Soak:
    """One soak on a running stack.

    Args:
        console: what is told goes here.
        seed: what everything but ids and moments is drawn from.
        learners: how many learners a load has; when all of them have clicked, others come.
        backlog: how many requests stand open at least, so that everybody is busy.
        poison: how many requests are poison.

    """

    def __init__(self, console: Console, seed: int, learners: int, backlog: int, poison: int) -> None:
        self._console = console
        self._seed = seed
        self._random = Random(f"soak {seed}")
        self._learners = learners
        self._backlog = backlog
        self._harms = [HARMS[number % len(HARMS)] for number in range(poison)]
        self._loads: list[Load] = []
        self._began = time.monotonic()

    def run(self, stack: Stack, logs: Path, minutes: float, workers: int, bridges: int) -> Result:
        """Keep a new site busy under faults for so long, let it settle, and judge what is left behind."""
        settings = {"WORKER_THREADS": "4", **(_POISON_SETTINGS if self._harms else {})}
        rabbitmq = stack.servers.get(RABBITMQ)
        if rabbitmq is not None:
            settings["CELERY_BROKER_URL"] = rabbitmq_url(rabbitmq.port)
        with ExitStack() as after:
            site = Site.build(stack.ports, logs, settings, workers=workers, bridges=bridges)
            # first in, last out: what a killed worker had started is ended when the site is
            after.callback(_end_orphans, site.environment)
            after.enter_context(site)
            # Celery may end a busy worker at each outage of its broker, and there are many
            site.most_restarts = sys.maxsize
            _, poisonous = innocents_and(site, self._harms, innocents=0)
            mischief = Mischief(self._random, stack, site, self._tell)
            problem = ""
            try:
                self._trouble(site, mischief, list(poisonous), minutes * 60)
                self._tell("no more faults: let everything settle")
                site.wait_settled(SETTLE_LIMIT)
                self._tell("everything is settled")
            except AssertionError as error:
                problem = str(error)
                self._tell(problem.splitlines()[0])
            result = judge(site, self._loads, mischief, poisonous, self._seed, problem)
            if not result.is_well:
                write_evidence(site, self._loads, logs / "evidence.json")
                for process in site.processes:
                    process.kill()  # in whatever state they are, no orderly end is to be expected
        return result

    def _trouble(self, site: Site, mischief: Mischief, poison: list[Learner], seconds: float) -> None:
        load = self._next_load(site)
        site.start()
        ends = None
        while True:
            with load.keep_busy(site, self._backlog):
                wait_flowing(site, limit=FLOW_LIMIT)
                if ends is None:
                    self._tell(f"{len(site.bridges)} bridges and {len(site.workers)} workers are busy")
                    ends = time.monotonic() + seconds
                self._one_fault(site, load, mischief, poison)
                while load.waiting and time.monotonic() < ends:
                    self._one_fault(site, load, mischief, poison)
            if time.monotonic() >= ends:
                break
            load = self._next_load(site)
        site.send(*poison)

    def _next_load(self, site: Site) -> Load:
        """Write tables and relation sets of more learners, so that there is always somebody to complete."""
        load = Load(self._seed + len(self._loads), self._learners).prepare(site)
        self._loads.append(load)
        return load

    def _one_fault(self, site: Site, load: Load, mischief: Mischief, poison: list[Learner]) -> None:
        if poison:
            learner = poison.pop()
            self._tell(f"send a request that {learner.user.split('-')[1]}")
            site.send(learner)
        mischief.once()
        began = time.monotonic()
        wait_flowing(site, limit=FLOW_LIMIT)
        load.observe(site)
        sent = sum(load.sent for load in self._loads)
        self._tell(f"    it flows again after {time.monotonic() - began:.1f} s; {sent:,} requests sent")
        keep(site, self._random.uniform(0, 3))

    def _tell(self, line: str) -> None:
        elapsed = int(time.monotonic() - self._began)
        self._console.print(f"[dim]{elapsed // 60:3}:{elapsed % 60:02}[/dim]  {line}", highlight=False, soft_wrap=True)


def _end_orphans(environment: str) -> None:
    """End what workers started and left alone when they were killed: attempts in processes of their own."""
    for process in psutil.process_iter():
        try:
            if process.environ().get("ENV") == environment:
                process.kill()
                process.wait(10)
        except psutil.Error:
            # it has gone, or is somebody else's
            continue


def _soak(console: Console, soak: Soak, minutes: float, workers: int, bridges: int, *, with_rabbitmq: bool) -> bool:
    """Run a soak on servers of its own; says whether all is well. Everything is ended and removed, also by Ctrl-C."""
    interrupts = Interrupts()
    folder = Path(tempfile.mkdtemp(prefix="enrolment-soak-"))
    ports = free_ports()
    port = free_port([ports.kafka, ports.cassandra, ports.redis]) if with_rabbitmq else None
    stack, logs = Stack(folder / "servers", ports, rabbitmq_port=port), folder / "logs"
    is_kept = False
    try:
        with progress(console) as report:
            stack.up(report)
        result = soak.run(stack, logs, minutes, workers, bridges)
        is_kept = not result.is_well
        show(console, result)
    finally:
        interrupts.ignore()
        stack.down(delete=True)
        if not is_kept:
            shutil.rmtree(folder, ignore_errors=True)
    if is_kept:
        console.print(f"The processes' logs, rows and events are in {logs}", highlight=False, soft_wrap=True)
    return result.is_well


@click.command()
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=5.0, show_default=True, help="How long.")
@click.option("--seed", type=int, default=None, help="Repeats a run's choices; by default one is drawn.")
@click.option("--workers", type=click.IntRange(1), default=3, show_default=True, help="How many workers.")
@click.option("--bridges", type=click.IntRange(1), default=2, show_default=True, help="How many bridges.")
@click.option("--learners", type=click.IntRange(1), default=2000, show_default=True, help="Learners of a load.")
@click.option("--backlog", type=click.IntRange(1), default=1500, show_default=True, help="Requests open at least.")
@click.option("--poison", type=click.IntRange(0), default=0, show_default=True, help="Requests that break workers.")
@click.option(
    "--broker",
    type=click.Choice(["redis", RABBITMQ]),
    default=RABBITMQ if is_rabbitmq() else "redis",
    show_default=True,
    help="Celery's broker; RabbitMQ must be installed.",
)
def main(
    minutes: float, seed: int | None, workers: int, bridges: int, learners: int, backlog: int, poison: int, broker: str
) -> None:
    """Keep bridges and workers busy while processes and servers are killed, frozen, filled up and emptied."""
    console = Console()
    chosen = Random().randrange(2**32) if seed is None else seed
    console.print(f"Seed {chosen}, {minutes:g} minutes", highlight=False)
    try:
        soak = Soak(console, chosen, learners, backlog, poison)
        is_well = _soak(console, soak, minutes, workers, bridges, with_rabbitmq=broker == RABBITMQ)
    except KeyboardInterrupt:
        click.echo("soak: interrupted; everything that it started is ended.", err=True)
        sys.exit(_INTERRUPTED)
    except DevstackError as error:
        click.echo(f"soak: {error}", err=True)
        sys.exit(1)
    sys.exit(0 if is_well else 1)


if __name__ == "__main__":
    main()
