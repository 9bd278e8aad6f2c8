"""What both processes count and serve (docs/metrics.md)."""

import time
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest

from reconciliation.durations import BRIDGE_STAGES, WORKER_STAGES
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
    """Add up both processes' counters, once each of them answers and has counted all that is settled."""
    installation.wait_counted()
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


def test_repeats_of_one_request_are_all_counted(installation: Installation) -> None:
    learner = _prepare(installation, {"a": 2, "b": 2})
    before = _counted(installation)

    installation.sync(*[learner] * 30)

    counted = _difference(before, _counted(installation))
    assert counted["total_events_count"] == 30
    assert counted["success_events_count"] == 30
    assert counted["enrolment_complete_count"] == 1
    assert counted["cert_issue_events_count"] == 1


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


def test_stages_and_ages_are_measured(installation: Installation) -> None:
    learner = _prepare(installation, {"a": 2, "b": 2})
    _counted(installation)

    def stages(process: str) -> dict[str, float]:
        names = {"bridge": BRIDGE_STAGES, "worker": WORKER_STAGES}[process]
        return {it: installation.measured(process, "stage_seconds_count", stage=it) for it in names}

    def ages(metric: str) -> float:
        return installation.measured("worker", f"request_age_seconds_{metric}", outcome="done")

    bridge_before, worker_before, aged, age = stages("bridge"), stages("worker"), ages("count"), ages("sum")
    began = time.time()
    # all in one task, and so in one attempt
    installation.sync(*[learner] * 10)
    installation.wait_counted()

    grown = {it for it, count in stages("worker").items() if count > worker_before[it]}
    assert grown == {"claim", "look", "relations", "aggregates", "debts", "enrolments", "announce", "settle"}
    # a commit can be seen before it is timed
    wait_until(
        "the bridge has timed all its stages",
        lambda: all(count > bridge_before[it] for it, count in stages("bridge").items()),
    )
    # clicks that joined the first end with it
    attempts = ages("count") - aged
    assert 1 <= attempts < 10
    assert 0 < ages("sum") - age <= attempts * (time.time() - began)
    assert installation.measured("worker", "stage_seconds_count") == sum(stages("worker").values())


@pytest.mark.usefixtures("search")
def test_a_search_is_a_stage_and_a_retry_is_counted(installation: Installation) -> None:
    learner = _prepare(installation, {"a": 2, "b": 2})
    installation.relations.remove(learner.course, learner.course, "leafnodes")
    _counted(installation)

    def seen() -> tuple[float, float, float]:
        measured = installation.measured
        return (
            measured("worker", "stage_seconds_count", stage="search"),
            measured("worker", "requests_retried_total", reason="RELATIONS_MISSING", spends="attempt"),
            measured("worker", "request_age_seconds_count", outcome="failed"),
        )

    before = seen()
    installation.sync(learner)
    installation.wait_counted()

    # two attempts, of which the second is the last
    searched, retried, failed = (after - earlier for after, earlier in zip(seen(), before, strict=True))
    assert (searched, retried, failed) == (2, 1, 1)


def test_gauges_show_what_is_the_case(installation: Installation) -> None:
    _counted(installation)
    release = version("enrolment-reconciliation")
    for part in ("bridge", "worker"):
        assert installation.measured(part, "build_info", version=release, part=part) == 1
    assert installation.measured("worker", "worker_threads") == 4
    before = time.time()
    installation.sync(_prepare(installation, {"a": 2, "b": 1}))
    wait_until(
        "a round went well since", lambda: installation.measured("bridge", "last_progress_timestamp_seconds") > before
    )
    installation.wait_counted()
    assert before <= installation.measured("worker", "last_progress_timestamp_seconds") <= time.time()
    wait_until("the queue's length is known", lambda: installation.measured("bridge", "queue_length") == 0)
    # both are looked for with each sweep: the last one may have been while the request was open
    wait_until("nothing is open", lambda: installation.measured("bridge", "oldest_open_seconds") == 0)
    assert installation.measured("bridge", "failures_held") == 0


def test_what_waits_shows_while_nobody_works(make_installation: MakeInstallation) -> None:
    learners = [new_learner() for _ in range(30)]
    # what waits for a worker is not sent a second time
    settings = {"BRIDGE_GROUP_SIZE": "1", "LEDGER_MAX_OPEN": "20", "LEDGER_SWEEP_AFTER": "600"}
    with make_installation(settings) as installation:
        installation.bridge.start()
        installation.send(*learners)

        def shows(metric: str, value: float, **labels: str) -> bool:
            try:
                return installation.measured("bridge", metric, **labels) == value
            except OSError:
                return False

        wait_until("the messages in the queue", lambda: shows("queue_length", 20))
        wait_until("the hold", lambda: shows("bridge_hold", 1, reason="ledger_full"))
        assert shows("bridge_hold", 1)
        assert shows("bridge_paused", 1)
        wait_until("the open requests", lambda: shows("open_requests", 20))
        first = installation.measured("bridge", "oldest_open_seconds")
        wait_until("it ages", lambda: installation.measured("bridge", "oldest_open_seconds") > max(first, 1))
        installation.worker.start()
        installation.wait_settled()
        wait_until("nothing is held", lambda: shows("bridge_hold", 0) and shows("bridge_paused", 0))
        wait_until("nothing is open", lambda: shows("open_requests", 0) and shows("oldest_open_seconds", 0))
        wait_until("nothing waits", lambda: shows("queue_length", 0))


def test_a_pool_s_endpoint_adds_up_what_its_processes_count(make_installation: MakeInstallation) -> None:
    course = new_learner().course
    learners = [new_learner(course) for _ in range(40)]
    with make_installation({"BRIDGE_GROUP_SIZE": "2", "WORKER_THREADS": "3"}) as installation:
        installation.worker.add_arguments("--pool", "processes")
        installation.relations.fill(course_of_units(course, {"unit1": {"a"}}))
        installation.tables.add_consumption({learner: {"a": 2} for learner in learners})
        installation.tables.add_enrolments(learners)
        installation.start()
        installation.sync(*learners)
        installation.wait_counted()

        def told() -> tuple[float, ...]:
            measured = installation.measured
            return (
                measured("worker", "success_events_count_total"),
                measured("worker", "cert_issue_events_count_total"),
                measured("worker", "request_age_seconds_count", outcome="done"),
                measured("worker", "worker_threads"),
                measured("worker", "build_info"),
                measured("worker", "attempts_running"),
            )

        expected = (40, 40, 40, 3, 1, 0)
        assert told() == expected
        children = psutil.Process(installation.worker.pid).children()
        folder = Path(_pool_folder(children[0]))
        busy = [file for file in folder.glob("counter_*.db") if file.stat().st_size]
        assert len(busy) >= len(children) >= 3

        # what a child counted that was killed still stands, in one file for all the dead
        for child in children:
            child.kill()
        assert told() == expected
        dead = {child.pid for child in children}
        # the dead are still told of for a moment, and three others are only there once all of them are not
        pool = psutil.Process(installation.worker.pid)
        wait_until("the pool is whole again", lambda: len({it.pid for it in pool.children()} - dead) >= 3)
        assert told() == expected
        assert not [file for file in folder.iterdir() if int(file.stem.rpartition("_")[2]) in dead]

        learner = new_learner(course)
        installation.tables.add_consumption({learner: {"a": 2}})
        installation.tables.add_enrolments([learner])
        installation.sync(learner)
        wait_until("the new child's counts", lambda: told() == (41, 41, 41, 3, 1, 0))
        installation.end()
        assert not folder.exists()


def _pool_folder(process: psutil.Process) -> str:
    """Find the folder of a pool's metrics by a file that one of its processes maps."""
    return next(str(Path(it.path).parent) for it in process.memory_maps() if Path(it.path).name.startswith("counter_"))
