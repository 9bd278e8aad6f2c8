"""The product's counters, each with one meaning (docs/metrics.md)."""

from collections.abc import Collection, Mapping

from prometheus_client import CollectorRegistry, Counter

from reconciliation.errors import CODES, OTHER
from reconciliation.shadow import Kind

PREFIX = "enrolment_reconciliation_"


class Counters:
    """One Prometheus counter a figure; a part of the program counts with `counters.db_reads.inc(n)`.

    `registry` is where the counters are registered. Two `Counters` on one registry collide: make one a process.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._by_name: dict[str, Counter] = {}

        def counter(name: str, meaning: str) -> Counter:
            # prometheus_client appends _total to what it exports (metrics.py, Counter._metric_init).
            made = Counter(PREFIX + name, meaning, registry=registry)
            self._by_name[name] = made
            return made

        self.total_events = counter("total_events_count", "Records taken from Kafka")
        self.skipped_events = counter("skipped_events_count", "Records of another action")
        self.success_events = counter("success_events_count", "Requests settled without failure")
        self.failed_events = counter("failed_events_count", "Events sent to the failed topic")
        self.db_reads = counter("db_read_count", "CQL read requests")
        self.db_updates = counter("db_update_count", "CQL write messages")
        self.cache_hits = counter("cache_hit_count", "Relation sets found in the relation cache")
        self.cache_misses = counter("cache_miss_count", "Relation sets that the relation cache does not hold")
        self.relation_fallbacks = counter(
            "relation_fallback_count",
            "Courses whose relation sets came from a later source because one before it was away",
        )
        self.relation_healings = counter(
            "relation_healing_count", "Events sent that ask for the relation sets of a course"
        )
        self.retired_consumption_events = counter(
            "retired_consumption_events_count", "Requests whose course is retired"
        )
        self.processed_enrolments = counter(
            "processed_enrolment_count", "Enrolments found already completed and left as they are"
        )
        self.completed_enrolments = counter("enrolment_complete_count", "Completions written")
        self.certificate_events = counter("cert_issue_events_count", "Certificate events sent")
        # these four in shadow mode alone (docs/shadow.md)
        self.shadow_compared = counter("shadow_compared_count", "Requests compared with what the tables hold")
        self.shadow_moved_on = counter(
            "shadow_moved_on_count", "Of these, requests after which the learner consumed more, so that rows may differ"
        )
        self.shadow_invalid_records = counter("shadow_invalid_records_count", "Records that can't be requests")
        differences = Counter(
            PREFIX + "shadow_difference_count", "Differences found, by kind", ["kind"], registry=registry
        )
        #: A counter for each kind; all of them are served from the start.
        self.shadow_differences = {kind: differences.labels(kind=kind.value) for kind in Kind}
        self._by_name.update((f"shadow_difference_count:{kind}", it) for kind, it in self.shadow_differences.items())

    def read(self) -> dict[str, float]:
        """Give every counter's value by its name, for `add` in another process."""
        return {
            name: sample.value
            for name, counter in self._by_name.items()
            for family in counter.collect()
            for sample in family.samples
            if sample.name.endswith("_total")
        }

    def add(self, values: Mapping[str, float]) -> None:
        """Add what another process has counted; names that this release does not know are passed over."""
        for name, value in values.items():
            if name in self._by_name:
                self._by_name[name].inc(value)


class Retries:
    """Counts attempts after which a request goes on, by the code of what ended them and by what they spend.

    `registry` is where the counter is registered; `spends` are the values of its second label.
    """

    def __init__(self, registry: CollectorRegistry, spends: Collection[str]) -> None:
        self._counter = Counter(
            PREFIX + "requests_retried",
            "Attempts after which a request goes on",
            ["reason", "spends"],
            registry=registry,
        )
        # those that are there from the start show as 0, so that the first increase is seen
        for code in CODES:
            for spent in spends:
                self._counter.labels(code, spent)

    def add(self, code: str, spent: str) -> None:
        """Count an attempt that ended for this reason; a code of another release counts as OTHER."""
        self._counter.labels(code if code in CODES else OTHER, spent).inc()
