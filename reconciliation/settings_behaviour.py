"""The settings that say how much is done at once, how long we wait and what is left out; see docs/settings.md."""

from dataclasses import dataclass
from typing import Annotated

from reconciliation import settings_kinds as kind
from reconciliation.settings_catalogue import Check, Others
from reconciliation.settings_sources import Documented


def _not_below_first(most: float, others: Others) -> float:
    if most < others.get("retry_backoff_first", 0.0):
        raise ValueError("retry.backoff.first is longer")
    return most


@dataclass(frozen=True, kw_only=True)
class BehaviourSettings:
    """Steps that can be switched off, sizes, retries and the ledger's times; times in seconds."""

    batch_write_size: Annotated[
        int,
        kind.whole_number(1, 65_535),
        Documented("threshold.batch.write.size", "The most statements in one batch message to Cassandra."),
    ] = 10
    module_aggregates_enabled: Annotated[
        bool,
        kind.SWITCH,
        Documented("activity.module.aggs.enabled", "Whether each unit gets an aggregate row too."),
    ] = True
    filter_processed_enrolments: Annotated[
        bool,
        kind.SWITCH,
        Documented(
            "activity.filter.processed.enrolments",
            "Whether enrolments that are missing or completed are left alone.",
        ),
    ] = True
    optional_nodes_enabled: Annotated[
        bool,
        kind.SWITCH,
        Documented("activity.optional.nodes.enabled", "Whether optional contents are taken off what is required."),
    ] = True
    collection_status_cache_expiry: Annotated[
        int,
        kind.whole_number(0, 31_536_000, unit=" of seconds"),
        Documented(
            "activity.collection.status.cache.expiry",
            "How long a course's status is remembered (seconds; 0: not at all).",
        ),
    ] = 3600
    audit_channel: Annotated[
        str, kind.SHORT_TEXT, Documented("audit.channel", "The channel that audit events name.")
    ] = "in.sunbird"
    ledger_max_open: Annotated[
        int,
        kind.whole_number(1, 1_000_000),
        Documented("ledger.max.open", "The most requests accepted and not yet settled; beyond, Kafka waits."),
    ] = 10_000
    ledger_max_waiting: Annotated[
        int,
        kind.whole_number(0, 1_000_000),
        Documented(
            "ledger.max.waiting",
            "The most requests that wait for the search service, their own course, or a Kafka that answers and does "
            "not take their events, without counting in ledger.max.open; each of these has half of it.",
        ),
    ] = 10_000
    ledger_lease: Annotated[
        float,
        kind.seconds(1, 3600),
        Documented("ledger.lease", "How long a claim holds unless it is renewed (seconds)."),
    ] = 60.0
    ledger_sweep_after: Annotated[
        float,
        kind.seconds(0.1, 3600),
        Documented("ledger.sweep.after", "How long an entry waits unclaimed before it is sent again (seconds)."),
    ] = 15.0
    ledger_sweep_interval: Annotated[
        float,
        kind.seconds(0.05, 60),
        Documented("ledger.sweep.interval", "How often a bridge looks for overdue entries (seconds)."),
    ] = 0.5
    ledger_sweep_max_wait: Annotated[
        float,
        kind.seconds(0.1, 86_400),
        Documented(
            "ledger.sweep.max.wait", "The longest wait of an unclaimed entry, which doubles each time (seconds)."
        ),
    ] = 3600.0
    ledger_sweep_rate: Annotated[
        int,
        kind.whole_number(1, 100_000),
        Documented(
            "ledger.sweep.rate",
            "The most overdue requests that all bridges send again in a second; it spares a server that has come back.",
        ),
    ] = 300
    ledger_paid_memory: Annotated[
        float,
        kind.seconds(60, 2_592_000),
        Documented("ledger.paid.memory", "How long sent announcements are remembered (seconds)."),
    ] = 172_800.0
    group_size: Annotated[
        int,
        kind.whole_number(1, 500),
        Documented("bridge.group.size", "The most requests that one Celery task carries."),
    ] = 100
    bulk_max_open: Annotated[
        int,
        kind.whole_number(1, 100_000),
        Documented("bulk.max.open", "The most requests of one bulk run that are open at once, beside ledger.max.open."),
    ] = 3000
    bulk_group_size: Annotated[
        int,
        kind.whole_number(1, 500),
        Documented("bulk.group.size", "The most requests of a bulk run that one Celery task carries."),
    ] = 100
    bulk_worker_threads: Annotated[
        int,
        kind.whole_number(1, 256),
        Documented(
            "bulk.worker.threads",
            "How many tasks of bulk runs a worker runs at once that takes clicks too, while clicks come; all its"
            " threads but one while none comes. With Redis as broker.",
        ),
    ] = 1
    bulk_worker_share: Annotated[
        int,
        kind.whole_number(1, 100),
        Documented(
            "bulk.worker.share",
            "How many percent of its threads' time a bulk run has in a worker of several threads while clicks come.",
        ),
    ] = 20
    poll_records: Annotated[
        int,
        kind.whole_number(1, 10_000),
        Documented("bridge.poll.records", "The most records taken from Kafka at once."),
    ] = 500
    worker_threads: Annotated[
        int,
        kind.whole_number(1, 256),
        Documented("worker.threads", "How many tasks one worker runs at once."),
    ] = 4
    worker_shutdown_limit: Annotated[
        float,
        kind.seconds(1, 3600),
        Documented("worker.shutdown.limit", "A worker is ended so long after SIGTERM at the latest (seconds)."),
    ] = 110.0

    retry_attempts: Annotated[
        int,
        kind.whole_number(1, 100),
        Documented("retry.attempts", "A request is given up after so many counted tries."),
    ] = 6
    retry_backoff_first: Annotated[
        float,
        kind.seconds(0.05, 3600),
        Documented("retry.backoff.first", "The wait before the second try; it doubles with each (seconds)."),
    ] = 5.0
    retry_backoff_most: Annotated[
        float,
        kind.seconds(0.05, 86_400),
        Check(_not_below_first),
        Documented("retry.backoff.most", "The longest wait between two tries (seconds)."),
    ] = 60.0
    outage_backoff_most: Annotated[
        float,
        kind.seconds(0.05, 3600),
        Documented("outage.backoff.most", "The longest wait between two looks for a lost server (seconds)."),
    ] = 30.0
    crash_attempts: Annotated[
        int,
        kind.whole_number(1, 100),
        Documented("crash.attempts", "A request is given up after it ended so many processes."),
    ] = 3
    failures_max_per_minute: Annotated[
        int,
        kind.whole_number(1, 1_000_000),
        Documented(
            "failures.max.per.minute",
            "More final failures of valid requests in a minute stop consumption until that clears.",
        ),
    ] = 200
    attempt_limit: Annotated[
        float,
        kind.seconds(1, 86_400),
        Documented(
            "attempt.limit",
            "An attempt that takes longer hangs: its requests go on elsewhere and its process is replaced (seconds).",
        ),
    ] = 300.0
    shadow_delay: Annotated[
        float,
        kind.seconds(0, 86_400),
        Documented(
            "shadow.delay",
            "How old a request is before shadow mode compares, so that the other job has had its turn (seconds).",
        ),
    ] = 60.0
