"""What the ledger costs: `python -m benchmarks.ledger_cost`, beside the servers of `make stack`.

The same work, groups of 25 learners on production's tables with events confirmed by Kafka, is done in turn through the
ledger (accept, claim, debts, settle) and without it, by the same code in one thread. Kafka's intake and Celery take no
part, so the share that the ledger has here is the most that it can have of the whole.
"""

import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import click
import redis
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.workload import Shape, Workload
from devstack.ports import HOST
from devstack.schema import AggregateLayout, create_keyspace, drop_keyspace
from devstack.stack import Stack
from devstack.topics import create_topics, topic_names
from reconciliation.model import Attempt, DebtStatus, EnrolmentKey, Origin, Outcome, Record, SyncRequest
from reconciliation.settings import Settings, load_settings
from tasks.runner import make_runner
from tests.support.events import encoded, sync_event
from tests.support.installation import unique
from tests.support.relations import RelationSets
from tests.support.tables import Learner
from worker.connections import Connections, connect
from worker.metrics import WorkerMetrics

GROUP = 25


@dataclass(frozen=True, slots=True)
class Round:
    """One round's seconds for the same number of requests."""

    with_ledger: float
    without_ledger: float


def through_ledger(connections: Connections, learners: Sequence[Learner], topic: str) -> float:
    """Reconcile these learners through the ledger; gives the seconds."""
    requests = [
        SyncRequest(
            unique("entry"),
            EnrolmentKey(*learner.ids),
            Record(Origin(topic, 0, n, 0), learner.user.encode(), encoded(sync_event(learner))),
        )
        for n, learner in enumerate(learners)
    ]
    runner = make_runner(connections)
    began = time.perf_counter()
    for at in range(0, len(requests), GROUP):
        acceptance = connections.ledger.accept(requests[at : at + GROUP])
        if runner.run(acceptance.tickets).done != GROUP:
            raise click.ClickException("not everything was done: see the log")
    return time.perf_counter() - began


def bare(connections: Connections, learners: Sequence[Learner]) -> float:
    """Reconcile these learners with no ledger; gives the seconds."""
    attempts = [Attempt(unique("entry"), EnrolmentKey(*learner.ids), 0) for learner in learners]
    began = time.perf_counter()
    for at in range(0, len(attempts), GROUP):
        results = connections.reconciler.reconcile(
            attempts[at : at + GROUP], lambda debts: [DebtStatus.OWED for _ in debts]
        )
        if not all(isinstance(result, Outcome) for result in results):
            raise click.ClickException(f"not everything was done: {results}")
    return time.perf_counter() - began


@click.command()
@click.option("--learners", default=2000, show_default=True, help="How many a round and side.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--seed", default=1, show_default=True)
def main(learners: int, rounds: int, seed: int) -> None:
    """Measure what the ledger costs, on the servers of `make stack`."""
    random = Random(seed)
    count = learners - learners % GROUP
    ports = Stack.from_environment(os.environ).ports
    environment = unique("bench")
    keyspace = environment.replace("-", "_")
    create_topics(ports.bootstrap, topic_names(environment))
    create_keyspace(HOST, ports.cassandra, keyspace, AggregateLayout.USER_IN_PARTITION)
    settings = load_settings(
        {
            "ENV": environment,
            "KAFKA_BROKER_SERVERS": ports.bootstrap,
            "LMS_CASSANDRA_PORT": str(ports.cassandra),
            "LMS_CASSANDRA_KEYSPACE": keyspace,
            "REDIS_PORT": str(ports.redis),
            "CELERY_BROKER_URL": ports.redis_url(0),
        }
    )
    relations = RelationSets(HOST, ports.redis, 10)
    workload = Workload(Shape(learners=count), ports.cassandra, keyspace, relations, random)
    connections = connect(settings, WorkerMetrics(CollectorRegistry()))
    try:
        found = []
        for number in track(range(rounds + 1), description="rounds", console=Console(stderr=True)):
            sides = [workload.add_round().shuffled(random) for _ in range(2)]
            if number % 2:
                first = bare(connections, sides[1])
                found.append(Round(through_ledger(connections, sides[0], settings.kafka_input_topic), first))
            else:
                found.append(
                    Round(
                        through_ledger(connections, sides[0], settings.kafka_input_topic), bare(connections, sides[1])
                    )
                )
        # the first warms up
        show(found[1:], count)
    finally:
        _tidy(settings, relations, connections)
        drop_keyspace(HOST, ports.cassandra, keyspace)


def show(found: Sequence[Round], count: int) -> None:
    """Print a table of requests per second and their ratio."""
    table = Table(title=f"{count} requests a round, groups of {GROUP}, one thread")
    for heading in ("", "median", "least", "most"):
        table.add_column(heading, justify="right" if heading else "left")

    def row(name: str, values: Sequence[float], form: str) -> None:
        table.add_row(name, *(form.format(value) for value in (statistics.median(values), min(values), max(values))))

    row("with the ledger, requests/s", [count / it.with_ledger for it in found], "{:.0f}")
    row("without, requests/s", [count / it.without_ledger for it in found], "{:.0f}")
    row("with / without", [it.without_ledger / it.with_ledger for it in found], "{:.2f}")
    row(
        "the ledger's cost, ms a request",
        [(it.with_ledger - it.without_ledger) / count * 1000 for it in found],
        "{:.2f}",
    )
    Console().print(table)


def _tidy(settings: Settings, relations: RelationSets, connections: Connections) -> None:
    with redis.Redis.from_url(settings.ledger_redis_url) as client:
        for key in client.scan_iter(f"enrolment-reconciliation:{{{settings.kafka_group_id}}}:*", count=1000):
            client.delete(key)
    relations.close()
    connections.close()


if __name__ == "__main__":
    main()
