"""What both processes count and serve (docs/reconciliation.md, counters)."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.integration.conftest import MakeInstallation
from tests.support.events import encoded
from tests.support.installation import Installation, new_learner
from tests.support.relations import course_of_units
from tests.support.search import SearchService
from tests.support.tables import Learner
from tests.support.waiting import wait_until

BRIDGE_COUNTERS = {"total_events_count_total", "skipped_events_count_total", "failed_events_count_total"}
WORKER_COUNTERS = {
    "success_events_count_total",
    "failed_events_count_total",
    "db_read_count_total",
    "db_update_count_total",
    "cache_hit_count_total",
    "cache_miss_count_total",
    "retired_consumption_events_count_total",
    "processed_enrolment_count_total",
    "enrolment_complete_count_total",
    "cert_issue_events_count_total",
}


@pytest.fixture(scope="module")
def installation(make_installation: MakeInstallation, search: SearchService) -> Iterator[Installation]:
    settings = {
        "SERVICE_SEARCH_BASEPATH": search.base_path,
        "RETRY_ATTEMPTS": "2",
        "RETRY_BACKOFF_FIRST": "0.1",
        "LEDGER_SWEEP_INTERVAL": "0.1",
    }
    with make_installation(settings) as made:
        made.start()
        # which reads Cassandra's clock, and counts it
        wait_until("the worker is warm", lambda: "clock was compared" in made.worker.output())
        yield made


@pytest.fixture(scope="module")
def search() -> Iterator[SearchService]:
    service = SearchService()
    service.start()
    yield service
    service.stop()


def _counted(installation: Installation) -> Counter[str]:
    """Add up both processes' counters, once each of them answers."""
    total: Counter[str] = Counter()
    for process in ("bridge", "worker"):

        def scrape(process: str = process) -> dict[str, float] | None:
            try:
                return installation.metrics(process)
            except OSError:
                return None

        total.update(wait_until(f"the {process}'s metrics", scrape))
    return total


def _difference(before: Counter[str], after: Counter[str]) -> dict[str, float]:
    names = BRIDGE_COUNTERS | WORKER_COUNTERS
    return {name.removesuffix("_total"): after[name] - before[name] for name in names if after[name] != before[name]}


def _prepare(installation: Installation, consumption: dict[str, int], **enrolment: object) -> Learner:
    learner = new_learner()
    installation.relations.fill(course_of_units(learner.course, {"unit1": {"a"}, "unit2": {"b"}}))
    installation.tables.add_consumption({learner: consumption})
    installation.tables.add_enrolments([learner], **enrolment)
    return learner


def test_every_name_is_served_from_the_start(installation: Installation) -> None:
    _counted(installation)
    assert set(installation.metrics("bridge")) >= BRIDGE_COUNTERS
    assert set(installation.metrics("worker")) >= WORKER_COUNTERS


def test_a_course_in_progress_is_counted(installation: Installation) -> None:
    learner = _prepare(installation, {"a": 2, "b": 1})
    before = _counted(installation)

    installation.sync(learner)

    assert _difference(before, _counted(installation)) == {
        "total_events_count": 1,
        "success_events_count": 1,
        "db_read_count": 2,
        "db_update_count": 2,
        # the leaf nodes of the course and its units, the ancestors of both contents; nothing is optional anywhere
        "cache_hit_count": 5,
        "cache_miss_count": 3,
    }


def test_a_completion_is_counted(installation: Installation) -> None:
    learner = _prepare(installation, {"a": 2, "b": 2})
    before = _counted(installation)

    installation.sync(learner)

    assert _difference(before, _counted(installation)) == {
        "total_events_count": 1,
        "success_events_count": 1,
        "enrolment_complete_count": 1,
        "cert_issue_events_count": 1,
        "db_read_count": 3,
        "db_update_count": 2,
        "cache_hit_count": 5,
        "cache_miss_count": 3,
    }


def test_every_click_is_counted_once_as_a_success(installation: Installation) -> None:
    learner = _prepare(installation, {"a": 2, "b": 1})
    before = _counted(installation)

    installation.sync(*[learner] * 30)

    counted = _difference(before, _counted(installation))
    assert counted["total_events_count"] == 30
    assert counted["success_events_count"] == 30


def test_an_enrolment_that_is_left_alone_is_counted(installation: Installation) -> None:
    learner = _prepare(installation, {"a": 2, "b": 2}, status=2)
    before = _counted(installation)

    installation.sync(learner)

    assert _difference(before, _counted(installation)) == {
        "total_events_count": 1,
        "success_events_count": 1,
        "processed_enrolment_count": 1,
        "db_read_count": 2,
        "db_update_count": 1,
        "cache_hit_count": 5,
        "cache_miss_count": 3,
    }


def test_a_retired_course_is_counted(installation: Installation, search: SearchService) -> None:
    learner = _prepare(installation, {"a": 2, "b": 2})
    installation.relations.remove(learner.course, learner.course, "leafnodes")
    search.statuses[learner.course] = "Retired"
    before = _counted(installation)

    installation.sync(learner)

    difference = _difference(before, _counted(installation))
    assert difference.pop("cache_hit_count") == 4
    assert difference.pop("cache_miss_count") == 4
    assert difference == {
        "total_events_count": 1,
        "success_events_count": 1,
        "retired_consumption_events_count": 1,
        "db_read_count": 2,
        "db_update_count": 1,
    }


def test_what_is_skipped_and_what_fails_is_counted(installation: Installation) -> None:
    learner = _prepare(installation, {"a": 2, "b": 2})
    installation.relations.remove(learner.course, learner.course, "leafnodes")
    before = _counted(installation)

    installation.send_records([(None, b"no JSON"), (None, b"[]"), (None, encoded({"edata": {"action": "other"}}))])
    installation.sync(learner)

    difference = _difference(before, _counted(installation))
    assert difference["total_events_count"] == 4
    assert difference["skipped_events_count"] == 1
    assert difference["failed_events_count"] == 3
    assert "success_events_count" not in difference


def test_repeats_of_one_request_are_all_counted(installation: Installation) -> None:
    learner = _prepare(installation, {"a": 2, "b": 2})
    before = _counted(installation)

    installation.sync(*[learner] * 30)

    difference = _difference(before, _counted(installation))
    assert difference["total_events_count"] == 30
    assert difference["enrolment_complete_count"] == 1
    assert difference["cert_issue_events_count"] == 1
