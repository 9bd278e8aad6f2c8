"""What a worker answers requests with: the live parts, or those of shadow mode, which can neither write nor send."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from ledger.comparisons import Comparisons
from ledger.config import ledger_config
from reconciliation.comparer import Comparer
from reconciliation.enrolment_store import EnrolmentStore
from reconciliation.failed_topic import FailedTopic, FailurePlace
from reconciliation.from_settings import course_list, rules, store_config
from reconciliation.kafka_options import connection_options
from reconciliation.learner_reader import LearnerReader
from reconciliation.publisher import EventPublisher
from reconciliation.reconciler import EventTopics, Reconciler
from reconciliation.reconciling import Reconciling
from reconciliation.relation_cache import RelationCache
from reconciliation.search import CollectionSearch
from reconciliation.settings import Settings
from reconciliation.shadow_failures import CountedFailures
from worker.metrics import WorkerMetrics
from worker.store_opener import Store, StoreOpener


@dataclass(frozen=True, slots=True)
class Answering:
    """The parts that differ between the live and the shadow mode.

    `probe_kafka` raises while Kafka is away, None where nothing is sent there; `close` closes what is not Cassandra's.
    """

    open_store: StoreOpener[Store]
    reconciler: Reconciling
    failed_topic: FailurePlace
    probe_kafka: Callable[[], None] | None
    close: Callable[[], None]


def answer_live(
    settings: Settings, metrics: WorkerMetrics, relations: RelationCache, search: CollectionSearch | None
) -> Answering:
    """Make what writes rows and sends events."""
    counters = metrics.counters
    publisher = EventPublisher(connection_options(settings), settings.kafka_timeout)
    lists = course_list(settings)
    open_store = StoreOpener(lambda: EnrolmentStore.connect(store_config(settings), counters))
    reconciler = Reconciler(
        open_store=open_store,
        relations=relations,
        search=search,
        publisher=publisher,
        rules=rules(settings),
        topics=EventTopics(
            certificate=settings.kafka_certissue_topic,
            audit=settings.kafka_audit_topic,
            channel=settings.audit_channel,
        ),
        course_list=lists,
        counters=counters,
        stages=metrics.stages,
        now_us=_now_us,
    )
    failed_topic = FailedTopic(publisher, settings.kafka_output_failed_topic, counters)

    def close() -> None:
        if lists is not None:
            lists.close()
        publisher.close()

    return Answering(open_store, reconciler, failed_topic, publisher.probe, close)


def answer_in_shadow(
    settings: Settings, metrics: WorkerMetrics, relations: RelationCache, search: CollectionSearch | None
) -> Answering:
    """Make what compares and reports: no publisher, and a connection to Cassandra without a statement that writes."""
    counters = metrics.counters
    open_reader = StoreOpener(lambda: LearnerReader.connect(store_config(settings), counters))
    report = Comparisons(ledger_config(settings), now_ms=lambda: _now_us() // 1000)
    comparer = Comparer(
        open_reader=open_reader,
        relations=relations,
        search=search,
        rules=rules(settings),
        report=report,
        counters=counters,
        delay=settings.shadow_delay,
        now_us=_now_us,
    )
    return Answering(open_reader, comparer, CountedFailures(report, counters), None, report.close)


def _now_us() -> int:
    return time.time_ns() // 1000
