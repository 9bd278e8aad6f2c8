"""What a worker process is connected to: made once a process, at first use, so never before a fork."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog
from prometheus_client import REGISTRY

from ledger.config import ledger_config
from ledger.lease_keeper import LeaseKeeper
from ledger.ledger import Ledger
from reconciliation.counters import Counters
from reconciliation.enrolment_store import EnrolmentStore
from reconciliation.errors import Server, SettingsError, StoreUnavailable
from reconciliation.failed_topic import FailedTopic
from reconciliation.kafka_options import connection_options
from reconciliation.progress import Rules
from reconciliation.publisher import EventPublisher
from reconciliation.reconciler import EventTopics, Reconciler
from reconciliation.redis_options import relation_cache_arguments
from reconciliation.relation_cache import RelationCache
from reconciliation.reminder import Reminder
from reconciliation.search import CollectionSearch, search_header
from reconciliation.settings import Settings, process_settings
from reconciliation.store_connection import store_config
from worker.replacement import REPLACEMENT, Replacement

log = structlog.get_logger(__name__)

#: After Cassandra refused a connection, attempts within this many seconds are told so without another try.
RECONNECT_PAUSE = 1.0


class StoreOpener:
    """Gives the process's connection to Cassandra, connecting at first use and again while that fails."""

    def __init__(self, connect: Callable[[], EnrolmentStore]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._store: EnrolmentStore | None = None
        self._refused: StoreUnavailable | None = None
        self._try_after = 0.0
        self._reminder = Reminder()

    def __call__(self) -> EnrolmentStore:
        """Give the connection. Raises StoreUnavailable while Cassandra is away or lacks a table."""
        with self._lock:
            if self._store is not None:
                return self._store
            if self._refused is not None and time.monotonic() < self._try_after:
                raise self._refused
            try:
                self._store = self._connect()
            except (StoreUnavailable, SettingsError) as error:
                # a missing table is mended by an operator, not by giving requests up: they wait as for an outage
                self._refused = StoreUnavailable(str(error))
                self._try_after = time.monotonic() + RECONNECT_PAUSE
                if self._reminder.due("refused", time.monotonic()):
                    log.error("Cassandra can't be used: requests wait for it", error=str(error))
                raise self._refused from error
            return self._store

    def probe(self) -> None:
        """Raise StoreUnavailable unless Cassandra answers a read."""
        self().probe()

    def close(self) -> None:
        """Close the connection if there is one."""
        with self._lock:
            if self._store is not None:
                self._store.close()


@dataclass(frozen=True, slots=True)
class Connections:
    """Everything that the tasks of one process share; all of it may be used by several threads."""

    settings: Settings
    counters: Counters
    ledger: Ledger
    leases: LeaseKeeper
    open_store: StoreOpener
    publisher: EventPublisher
    relations: RelationCache
    search: CollectionSearch | None
    reconciler: Reconciler
    failed_topic: FailedTopic

    def probes(self) -> Mapping[Server, Callable[[], None]]:
        """Give for each server a call that raises while it is away."""
        probes = {
            Server.CASSANDRA: self.open_store.probe,
            Server.REDIS: self.relations.probe,
            Server.KAFKA: self.publisher.probe,
        }
        return probes if self.search is None else {**probes, Server.SEARCH: self.search.probe}

    def close(self) -> None:
        """Close everything; what an attempt left open is in the ledger."""
        self.leases.close()
        self.publisher.close()
        self.open_store.close()
        self.relations.close()
        if self.search is not None:
            self.search.close()
        self.ledger.close()


def connect(settings: Settings, counters: Counters, replacement: Replacement | None = None) -> Connections:
    """Make the connections of one process; none of them asks its server anything yet.

    With a `replacement` the process is replaced when an attempt takes longer than attempt.limit.
    """
    ledger = Ledger(ledger_config(settings))
    publisher = EventPublisher(connection_options(settings), settings.kafka_timeout)
    relations = RelationCache(
        server=relation_cache_arguments(settings), timeout=settings.redis_timeout, counters=counters
    )
    open_store = StoreOpener(lambda: EnrolmentStore.connect(store_config(settings), counters))
    search = None
    if settings.search_base_path is not None:
        search = CollectionSearch(
            settings.search_base_path,
            settings.search_timeout,
            settings.collection_status_cache_expiry,
            header=search_header(settings),
        )
    reconciler = Reconciler(
        open_store=open_store,
        relations=relations,
        search=search,
        publisher=publisher,
        rules=Rules(
            module_aggregates_enabled=settings.module_aggregates_enabled,
            filter_processed_enrolments=settings.filter_processed_enrolments,
            optional_nodes_enabled=settings.optional_nodes_enabled,
        ),
        topics=EventTopics(
            certificate=settings.kafka_certissue_topic,
            audit=settings.kafka_audit_topic,
            channel=settings.audit_channel,
        ),
        counters=counters,
        now_us=lambda: time.time_ns() // 1000,
    )

    def replace() -> None:
        if replacement is not None:
            replacement.want(leases.is_all_hung, settings.worker_shutdown_limit)

    leases = LeaseKeeper(ledger, settings.ledger_lease, settings.attempt_limit, on_hung=replace)
    return Connections(
        settings=settings,
        counters=counters,
        ledger=ledger,
        leases=leases,
        open_store=open_store,
        publisher=publisher,
        relations=relations,
        search=search,
        reconciler=reconciler,
        failed_topic=FailedTopic(publisher, settings.kafka_output_failed_topic, counters),
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
            found = connect(process_settings(), Counters(REGISTRY), REPLACEMENT)
            _by_process.clear()
            _by_process[os.getpid()] = found
        return found


def is_all_hung() -> bool:
    """Say whether attempts hang in this process and no other one runs."""
    with _lock:
        found = _by_process.get(os.getpid())
    return found is not None and found.leases.is_all_hung()


def close_connections() -> None:
    """Close this process's connections, if any were made."""
    with _lock:
        found = _by_process.pop(os.getpid(), None)
    if found is not None:
        found.close()
