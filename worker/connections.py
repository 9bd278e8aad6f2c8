"""What a worker process is connected to: made once a process, at first use, so never before a fork."""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prometheus_client import REGISTRY

from ledger.config import ledger_config
from ledger.lease_keeper import LeaseKeeper
from ledger.ledger import Ledger
from reconciliation import from_settings
from reconciliation.errors import Server
from reconciliation.failed_topic import FailurePlace
from reconciliation.reconciling import Reconciling
from reconciliation.relation_sets import Relations
from reconciliation.search import CollectionSearch
from reconciliation.settings import Settings, process_settings
from reconciliation.store_opener import Store, StoreOpener
from worker.answering import Answering, answer_in_shadow, answer_live
from worker.metrics import WorkerMetrics
from worker.replacement import REPLACEMENT, Replacement


@dataclass(frozen=True, slots=True)
class Connections:
    """Everything that the tasks of one process share; all of it may be used by several threads."""

    settings: Settings
    metrics: WorkerMetrics
    ledger: Ledger
    leases: LeaseKeeper
    relations: Relations
    search: CollectionSearch | None
    answering: Answering

    @property
    def open_store(self) -> StoreOpener[Store]:
        """Gives the connection to Cassandra."""
        return self.answering.open_store

    @property
    def reconciler(self) -> Reconciling:
        """What attempts ask of the domain."""
        return self.answering.reconciler

    @property
    def failed_topic(self) -> FailurePlace:
        """Where final failures go."""
        return self.answering.failed_topic

    def probes(self) -> Mapping[Server, Callable[[], None]]:
        """Give for each server a call that raises while it is away."""
        probes = {**self.relations.probes(), Server.CASSANDRA: self._probe_cassandra}
        if self.answering.probe_kafka is not None:
            probes[Server.KAFKA] = self.answering.probe_kafka
        if self.search is not None:
            probes[Server.SEARCH] = self.search.probe
        return probes

    def _probe_cassandra(self) -> None:
        """Probe the learners' tables, and that of relation sets, whose keyspace may have lost its quorum alone."""
        self.open_store.probe_all_along()
        probe_relations = self.relations.probes().get(Server.CASSANDRA)
        if probe_relations is not None:
            probe_relations()

    def close(self) -> None:
        """Close everything; what an attempt left open is in the ledger."""
        self.leases.close()
        self.answering.close()
        self.open_store.close()
        self.relations.close()
        if self.search is not None:
            self.search.close()
        self.ledger.close()


def connect(settings: Settings, metrics: WorkerMetrics, replacement: Replacement | None = None) -> Connections:
    """Make the connections of one process; none of them asks its server anything yet.

    With a `replacement` the process is replaced when an attempt takes longer than attempt.limit.
    """
    counters = metrics.counters
    ledger = Ledger(ledger_config(settings))
    relations, search = from_settings.relations(settings, counters), from_settings.collection_search(settings)
    # the one place where shadow mode parts from the live one: what is made here has no way to write or to send
    answer = answer_in_shadow if settings.shadow_enabled else answer_live
    answering = answer(settings, metrics, relations, search)

    def replace() -> None:
        if replacement is not None:
            replacement.want(leases.is_all_hung, settings.worker_shutdown_limit)

    leases = LeaseKeeper(ledger, settings.ledger_lease, settings.attempt_limit, on_hung=replace)
    return Connections(
        settings=settings,
        metrics=metrics,
        ledger=ledger,
        leases=leases,
        relations=relations,
        search=search,
        answering=answering,
    )


#: Set when this process was told to end: whoever waits for a server gives up then.
STOPPING = threading.Event()

_lock = threading.Lock()
_by_process: dict[int, Connections] = {}


def current_connections() -> Connections:
    """Give this process's connections, made at the first call in it (a forked child makes its own)."""
    with _lock:
        found = _by_process.get(os.getpid())
        if found is None:
            found = connect(process_settings(), WorkerMetrics(REGISTRY), REPLACEMENT)
            _by_process.clear()
            _by_process[os.getpid()] = found
        return found


def is_all_hung() -> bool:
    """Say whether attempts hang in this process and no other one runs."""
    with _lock:
        found = _by_process.get(os.getpid())
    return found is not None and found.leases.is_all_hung()


def is_store_open() -> bool:
    """Say whether this process has reached Cassandra."""
    with _lock:
        found = _by_process.get(os.getpid())
    return found is not None and found.open_store.is_open()


def close_connections() -> None:
    """Close this process's connections, if any were made."""
    with _lock:
        found = _by_process.pop(os.getpid(), None)
    if found is not None:
        found.close()
