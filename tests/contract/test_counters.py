"""The counters under the names that operators see."""

from prometheus_client import CollectorRegistry, generate_latest

from reconciliation.counters import Counters
from reconciliation.shadow import Kind


def test_each_counter_is_exported_under_its_name() -> None:
    registry = CollectorRegistry()
    counters = Counters(registry)
    counters.add(dict.fromkeys(counters.read(), 3.0))

    lines = generate_latest(registry).decode().splitlines()

    assert sorted(line for line in lines if line.endswith("_total 3.0")) == sorted(
        f"enrolment_reconciliation_{name}_total 3.0"
        for name in (
            "total_events_count",
            "skipped_events_count",
            "success_events_count",
            "failed_events_count",
            "db_read_count",
            "db_update_count",
            "cache_hit_count",
            "cache_miss_count",
            "retired_consumption_events_count",
            "processed_enrolment_count",
            "enrolment_complete_count",
            "cert_issue_events_count",
            "relation_fallback_count",
            "relation_healing_count",
            "shadow_compared_count",
            "shadow_moved_on_count",
            "shadow_invalid_records_count",
        )
    )
    assert [line for line in lines if line.startswith("enrolment_reconciliation_shadow_difference_count_total")] == [
        f'enrolment_reconciliation_shadow_difference_count_total{{kind="{kind}"}} 3.0' for kind in Kind
    ]


def test_what_another_process_counted_is_added() -> None:
    here, there = Counters(CollectorRegistry()), Counters(CollectorRegistry())
    here.db_reads.inc(2)
    there.db_reads.inc(3)
    there.certificate_events.inc()
    here.add({**there.read(), "a counter of a newer release": 9})
    assert here.read() == {**dict.fromkeys(here.read(), 0.0), "db_read_count": 5.0, "cert_issue_events_count": 1.0}


def test_two_sets_of_counters_do_not_meet() -> None:
    first, second = Counters(CollectorRegistry()), Counters(CollectorRegistry())
    first.db_reads.inc()

    assert (first.db_reads._value.get(), second.db_reads._value.get()) == (1.0, 0.0)


def test_what_another_process_counted_is_added_with_the_kinds_of_differences() -> None:
    here, there = Counters(CollectorRegistry()), Counters(CollectorRegistry())
    there.shadow_compared.inc(3)
    there.shadow_differences[Kind.PROGRESS].inc(2)
    there.shadow_differences[Kind.UNIT_AGGREGATE].inc()

    here.add(there.read())
    here.add(there.read())

    assert here.read() == {name: 2 * value for name, value in there.read().items()}
    assert here.read()["shadow_difference_count:progress"] == 4
    assert sum(here.read().values()) == 12
