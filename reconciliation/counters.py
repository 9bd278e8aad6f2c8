"""The product's counters, each with one meaning (docs/reconciliation.md, counters)."""

from prometheus_client import CollectorRegistry, Counter

PREFIX = "enrolment_reconciliation_"


class Counters:
    """One Prometheus counter a figure; a part of the program counts with `counters.db_reads.inc(n)`.

    `registry` is where the counters are registered. Two `Counters` on one registry collide: make one a process.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, meaning: str) -> Counter:
            # prometheus_client appends _total to what it exports (metrics.py, Counter._metric_init).
            return Counter(PREFIX + name, meaning, registry=registry)

        self.total_events = counter("total_events_count", "Records taken from Kafka")
        self.skipped_events = counter("skipped_events_count", "Records of another action")
        self.success_events = counter("success_events_count", "Requests settled without failure")
        self.failed_events = counter("failed_events_count", "Events sent to the failed topic")
        self.db_reads = counter("db_read_count", "CQL read requests")
        self.db_updates = counter("db_update_count", "CQL write messages")
        self.cache_hits = counter("cache_hit_count", "Relation sets found in the relation cache")
        self.cache_misses = counter("cache_miss_count", "Relation sets that the relation cache does not hold")
        self.retired_consumption_events = counter(
            "retired_consumption_events_count", "Requests whose course is retired"
        )
        self.processed_enrolments = counter(
            "processed_enrolment_count", "Enrolments found already completed and left as they are"
        )
        self.completed_enrolments = counter("enrolment_complete_count", "Completions written")
        self.certificate_events = counter("cert_issue_events_count", "Certificate events sent")
