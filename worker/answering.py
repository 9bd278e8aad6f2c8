"""What a worker answers requests with: the live parts, or those of shadow mode, which can neither write nor send."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from ledger.comparisons import Comparisons
from ledger.config import ledger_config
from ledger.healing import HealingTurns
from reconciliation.comparer import Comparer
from reconciliation.counters import Counters
from reconciliation.enrolment_store import EnrolmentStore
from reconciliation.failed_topic import FailedTopic, FailurePlace
from reconciliation.from_settings import course_list, rules, store_config
from reconciliation.kafka_options import connection_options
from reconciliation.learner_reader import LearnerReader
from reconciliation.publisher import EventPublisher
from reconciliation.reconciler import EventTopics, Reconciler
from reconciliation.reconciling import Reconciling
from reconciliation.relation_sets import Relations
from reconciliation.search import CollectionSearch
from reconciliation.settings import Settings
from reconciliation.shadow_failures import CountedFailures
from reconciliation.store_opener import Store, StoreOpener
from worker.healing import Healing
from worker.metrics import WorkerMetrics


@dataclass(frozen=True, slots=True)
class Answering:
    """The parts that differ between the live and the shadow mode.

    `probe_kafka` raises while Kafka is away, None where nothing is sent there; `close` closes what is not Cassandra's.
    `healing` asks for relation sets that are missing, None where nobody is to be asked.
    """

    open_store: StoreOpener[Store]
    reconciler: Reconciling
    failed_topic: FailurePlace
    probe_kafka: Callable[[], None] | None
    close: Callable[[], None]
    healing: Healing | None = None


def answer_live(
    settings: Settings, metrics: WorkerMetrics, relations: Relations, search: CollectionSearch | None
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
    healing = _healing(settings, publisher, counters)

    def close() -> None:
        if lists is not None:
            lists.close()
        publisher.close()
        if healing is not None:
            healing.close()

    return Answering(open_store, reconciler, failed_topic, publisher.probe, close, healing)


def _healing(settings: Settings, publisher: EventPublisher, counters: Counters) -> Healing | None:
    if not settings.relation_healing_enabled:
        return None
    return Healing(
        turns=HealingTurns(ledger_config(settings), settings.relation_healing_interval),
        publisher=publisher,
        topic=settings.relation_healing_topic,
        counters=counters,
        now_ms=lambda: _now_us() // 1000,
    )


def answer_in_shadow(
    settings: Settings, metrics: WorkerMetrics, relations: Relations, search: CollectionSearch | None
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
