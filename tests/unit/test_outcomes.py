"""What is counted and logged of the ends of attempts."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from ledger.entries import Claim, RetryLater, Spends
from reconciliation.durations import Stage
from reconciliation.errors import CODES, RelationsMissing, StoreUnavailable
from reconciliation.logs import configure_logging
from reconciliation.model import EnrolmentKey, FinalFailure, Origin, Record, SyncRequest, Verdict
from reconciliation.personal import hashed, id_fields
from tasks.outcomes import Ended, Group, Outcomes, ended_for_good, ended_for_now, ended_well
from worker.metrics import WorkerMetrics

NOW_MS = 1_700_000_000_000
USER = "learner-0001"


def make_claim(name: str, *, asked_ms: int = NOW_MS - 2_500, attempts: int = 0, crashes: int = 0) -> Claim:
    record = Record(Origin("topic", 0, 0, asked_ms), None, b"{}")
    request = SyncRequest(name, EnrolmentKey(USER, "do_1", "batch_1"), record)
    return Claim(
        entry_id=name,
        generation=1,
        token="token",
        request=request,
        attempts=attempts,
        waits=0,
        crashes=crashes,
        isolated=False,
        owed_ms=None,
        failure=None,
        reason="",
        accepted_ms=0,
    )


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


Tell = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def tell(registry: CollectorRegistry, capsys: pytest.CaptureFixture[str]) -> Tell:
    """Tells how these claims ended; gives what is logged of it."""
    metrics = WorkerMetrics(registry)

    def tell(ended: list[Ended], *claims: Claim, ids: str = "hashed", each: bool = True) -> list[dict[str, Any]]:
        configure_logging("json", "info")
        outcomes = Outcomes(
            ages=metrics.ages,
            retries=metrics.retries,
            show_ids=id_fields(ids),
            is_each_told=each,
            on_end=metrics.gauges.progressed,
        )
        outcomes.tell(ended, Group({claim.entry_id: claim for claim in claims}, "task-1", 0.25), NOW_MS)
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    return tell


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value("enrolment_reconciliation_" + name, labels)


def test_a_request_that_is_done_is_told_with_its_verdict_and_age(tell: Tell, registry: CollectorRegistry) -> None:
    claim = make_claim("entry-1", attempts=2, crashes=1)
    (line,) = tell([ended_well(claim, Verdict.IN_PROGRESS)], claim)
    del line["timestamp"]
    assert line == {
        "event": "a request ended",
        "level": "info",
        "logger": "tasks.outcomes",
        "task": "task-1",
        "entry": "entry-1",
        "outcome": "done",
        "verdict": "in progress",
        "attempts": 4,
        "seconds": 0.25,
        "age": 2.5,
        "user": hashed(USER),
        "course": "do_1",
        "batch": "batch_1",
    }
    assert value(registry, "request_age_seconds_sum", outcome="done") == 2.5
    assert value(registry, "request_age_seconds_count", outcome="failed") == 0
    assert (value(registry, "last_progress_timestamp_seconds") or 0) > 1_700_000_000


def test_a_request_that_is_given_up_is_told_whatever_is_turned_off(tell: Tell, registry: CollectorRegistry) -> None:
    claim = make_claim("entry-1")
    failure = FinalFailure("REQUEST_FAILED", f"KeyError: '{USER}'", 6, NOW_MS)
    (line,) = tell([ended_for_good(claim, failure)], claim, each=False, ids="none")
    assert (line["level"], line["outcome"], line["code"], line["attempts"]) == (
        "error",
        "given up",
        "REQUEST_FAILED",
        6,
    )
    assert line["reason"] == "KeyError: '(learner)'"
    assert "user" not in line
    assert value(registry, "request_age_seconds_count", outcome="failed") == 1


def test_a_request_that_is_retried_is_told_and_counted(tell: Tell, registry: CollectorRegistry) -> None:
    claim = make_claim("entry-1")
    later = RetryLater(
        "entry-1", 5000, Spends.ATTEMPT, f"RELATIONS_MISSING: none for {USER}", code=RelationsMissing.code
    )
    (line,) = tell([ended_for_now(claim, later)], claim)
    assert (line["level"], line["outcome"], line["code"]) == ("warning", "retried", "RELATIONS_MISSING")
    assert line["reason"] == "none for (learner)"
    assert value(registry, "requests_retried_total", reason="RELATIONS_MISSING", spends="attempt") == 1
    assert value(registry, "request_age_seconds_count", outcome="done") == 0
    assert value(registry, "last_progress_timestamp_seconds") == 0


def test_requests_that_wait_for_a_server_are_counted_and_have_no_lines(tell: Tell, registry: CollectorRegistry) -> None:
    claim = make_claim("entry-1")
    waiting = RetryLater("entry-1", 1000, Spends.WAIT, "Cassandra is away", code=StoreUnavailable.code)
    assert tell([ended_for_now(claim, waiting)], claim) == []
    assert value(registry, "requests_retried_total", reason="STORE_UNAVAILABLE", spends="wait") == 1


def test_lines_that_are_turned_off_are_counted_all_the_same(tell: Tell, registry: CollectorRegistry) -> None:
    claim = make_claim("entry-1")
    assert tell([ended_well(claim, Verdict.COMPLETED)], claim, each=False) == []
    assert value(registry, "request_age_seconds_count", outcome="done") == 1


def test_a_request_without_a_time_has_no_age_and_one_of_the_future_is_new(
    tell: Tell, registry: CollectorRegistry
) -> None:
    timeless, early = make_claim("entry-1", asked_ms=0), make_claim("entry-2", asked_ms=NOW_MS + 5000)
    ended = [ended_well(claim, Verdict.COMPLETED) for claim in (timeless, early)]
    lines = tell(ended, timeless, early)
    assert [line.get("age") for line in lines] == [None, 0]
    assert value(registry, "request_age_seconds_count", outcome="done") == 1


def test_a_code_of_another_release_is_no_new_label(registry: CollectorRegistry) -> None:
    WorkerMetrics(registry).retries.add("A_NEWER_CODE", "wait")
    name = "enrolment_reconciliation_requests_retried"
    (family,) = (family for family in registry.collect() if family.name == name)
    assert {sample.labels["reason"] for sample in family.samples} == set(CODES)
    assert value(registry, "requests_retried_total", reason="OTHER", spends="wait") == 1


def test_a_stage_is_timed_also_where_it_raises_and_comes_along_from_another_process(
    registry: CollectorRegistry,
) -> None:
    timed: list[tuple[str, float]] = []
    there, here = WorkerMetrics(CollectorRegistry(), timed), WorkerMetrics(registry)
    with pytest.raises(RuntimeError), there.stages.time(Stage.LOOK):
        raise RuntimeError
    with there.stages.time(Stage.SETTLE):
        pass
    here.stages.add([*timed, ("a stage of another release", 1.0), ("settle", 3.0)])
    assert [stage for stage, _ in timed] == ["look", "settle"]
    assert value(registry, "stage_seconds_count", stage="look") == 1
    assert value(registry, "stage_seconds_count", stage="settle") == 2
    assert (value(registry, "stage_seconds_sum", stage="settle") or 0) > 3
    assert value(registry, "stage_seconds_count", stage="accept") is None
