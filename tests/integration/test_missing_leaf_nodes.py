"""Courses without leaf nodes: retired, about to come back, or given up; and a search service that is away."""

from collections.abc import Iterator

import pytest

from tests.integration.conftest import MakeInstallation
from tests.support.events import check_audit, check_certificate, sync_event
from tests.support.installation import Installation, new_learner
from tests.support.relations import CourseTree, course_of_units
from tests.support.search import SearchService
from tests.support.tables import Learner
from tests.support.waiting import wait_until

ATTEMPTS = 4
SETTINGS = {
    "RETRY_ATTEMPTS": str(ATTEMPTS),
    "RETRY_BACKOFF_FIRST": "0.4",
    "RETRY_BACKOFF_MOST": "1.5",
    "OUTAGE_BACKOFF_MOST": "0.3",
    "LEDGER_SWEEP_INTERVAL": "0.1",
}


@pytest.fixture(scope="module")
def search() -> Iterator[SearchService]:
    service = SearchService()
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def installation(make_installation: MakeInstallation, search: SearchService) -> Iterator[Installation]:
    with make_installation({**SETTINGS, "SERVICE_SEARCH_BASEPATH": search.base_path}) as made:
        yield made.start()


def _without_course_leaf_nodes(learner: Learner) -> CourseTree:
    tree = course_of_units(learner.course, {"unit": {"a", "b"}})
    return CourseTree(learner.course, {"unit": {"a", "b"}}, {}, tree.ancestors)


def _prepare(installation: Installation) -> Learner:
    learner = new_learner()
    installation.relations.fill(_without_course_leaf_nodes(learner))
    installation.tables.add_consumption({learner: {"a": 2, "b": 2}})
    installation.tables.add_enrolments([learner])
    return learner


def _check_enrolment_untouched(installation: Installation, learner: Learner, row: object, times: object) -> None:
    assert installation.tables.enrolment(learner) == row
    assert installation.tables.write_times(learner) == times
    assert installation.announced(learner).certificates == []
    assert installation.announced(learner).audits == []


def _check_completed(installation: Installation, learner: Learner) -> None:
    row = installation.tables.enrolment(learner)
    assert row is not None
    assert (row["status"], row["progress"]) == (2, 2)
    announced = installation.announced(learner)
    (certificate,), (audit,) = announced.certificates, announced.audits
    check_certificate(certificate, learner, row["completedon"])
    check_audit(audit, learner)
    assert installation.failures(learner) == []


def test_a_retired_course_has_its_units_written_alone(installation: Installation, search: SearchService) -> None:
    learner = _prepare(installation)
    search.statuses[learner.course] = "Retired"
    row, times = installation.tables.enrolment(learner), installation.tables.write_times(learner)

    installation.sync(learner)
    installation.sync(learner)

    assert installation.tables.completed_counts(learner) == {"unit": 2.0}
    _check_enrolment_untouched(installation, learner, row, times)
    assert installation.failures(learner) == []
    # the second request found the answer remembered
    assert search.asked_about(learner.course) == 1
    (asked,) = [it for it in search.asked if it[1]["request"]["filters"]["identifier"] == learner.course]
    assert asked == (
        "/v3/search",
        {
            "request": {
                "filters": {
                    "objectType": "Collection",
                    "identifier": learner.course,
                    "status": ["Live", "Unlisted", "Retired"],
                },
                "fields": ["status"],
            }
        },
    )


@pytest.mark.parametrize("status", ["Live", "Unlisted", None])
def test_a_course_that_is_not_retired_is_given_up_after_its_tries(
    installation: Installation, search: SearchService, status: str | None
) -> None:
    learner = _prepare(installation)
    if status is not None:
        search.statuses[learner.course] = status
    row, times = installation.tables.enrolment(learner), installation.tables.write_times(learner)

    (sent,) = installation.send(learner)
    installation.wait_settled()

    _check_enrolment_untouched(installation, learner, row, times)
    (event,) = installation.failures(learner)
    info = event["failInfo"]
    assert event == {**sync_event(learner), "jobName": "enrolment-reconciliation", "failInfo": info}
    assert info == {
        "errorCode": "RELATIONS_MISSING",
        "error": info["error"],
        "attempts": ATTEMPTS,
        "failedAt": info["failedAt"],
    }
    assert learner.course in info["error"]
    # three waits of 0.4, 0.8 and 1.5 seconds, each at most a quarter shorter
    assert info["failedAt"] - sent.timestamp_ms >= 0.75 * 2700
    (record,) = [it for it in installation.failed.records() if it.key == learner.user.encode()]
    assert record.headers == {
        "original-topic": installation.input_topic.encode(),
        "original-partition": str(sent.partition).encode(),
        "original-offset": str(sent.offset).encode(),
        "original-timestamp": str(sent.timestamp_ms).encode(),
    }


def test_leaf_nodes_that_come_back_in_time_are_used(make_installation: MakeInstallation, search: SearchService) -> None:
    # tries enough for however long it takes until they come back
    settings = {**SETTINGS, "RETRY_ATTEMPTS": "60", "SERVICE_SEARCH_BASEPATH": search.base_path}
    with make_installation(settings) as installation:
        installation.start()
        learner = _prepare(installation)
        search.statuses[learner.course] = "Live"

        installation.send(learner)
        wait_until("the first look at the course", lambda: search.asked_about(learner.course), 120)
        installation.relations.fill(course_of_units(learner.course, {"unit": {"a", "b"}}))
        installation.wait_settled()

        _check_completed(installation, learner)


def _wait_for_waits(installation: Installation) -> None:
    """Wait until the one open request has looked more often than its own failures would allow."""
    wait_until("more looks than tries", lambda: [it for it in installation.spent() if it[1] > ATTEMPTS])
    assert [attempts for attempts, _ in installation.spent()] == [0]


def test_a_search_service_that_answers_503_is_waited_for(installation: Installation, search: SearchService) -> None:
    learner = _prepare(installation)
    search.statuses[learner.course] = "Retired"
    search.broken = True
    try:
        installation.send(learner)
        _wait_for_waits(installation)
    finally:
        search.broken = False
    installation.wait_settled()

    assert installation.tables.completed_counts(learner) == {"unit": 2.0}
    assert installation.failures(learner) == []


def test_a_search_service_that_is_gone_is_waited_for(installation: Installation, search: SearchService) -> None:
    learner, unaffected = _prepare(installation), new_learner()
    installation.relations.fill(course_of_units(unaffected.course, {"unit": {"a", "b"}}))
    installation.tables.add_consumption({unaffected: {"a": 2, "b": 2}})
    installation.tables.add_enrolments([unaffected])
    search.statuses[learner.course] = "Retired"
    search.stop()
    try:
        installation.send(learner)
        _wait_for_waits(installation)
        installation.send(unaffected)
        wait_until("a request that needs no search done", lambda: installation.announced(unaffected).audits)
        _check_completed(installation, unaffected)
    finally:
        search.start()
    installation.wait_settled()

    assert installation.tables.completed_counts(learner) == {"unit": 2.0}
    assert installation.failures(learner) == []


def test_who_needs_no_answer_is_not_held_by_who_does(installation: Installation, search: SearchService) -> None:
    # all in one group: A waits for the search service, B of the same course has consumed nothing, and that C's course
    # is retired is known already
    a, c = _prepare(installation), _prepare(installation)
    b, d = new_learner(a.course), new_learner(c.course)
    installation.tables.add_enrolments([b, d])
    installation.tables.add_consumption({d: {"a": 2}})
    search.statuses |= {a.course: "Retired", c.course: "Retired"}
    installation.sync(c)
    bridge, _ = installation.processes
    bridge.end()
    search.broken = True
    try:
        installation.send(a, b, d)
        bridge.start()
        installation.wait_accepted()
        wait_until("only A waits", lambda: installation.open_count() == 1)
        assert installation.tables.completed_counts(d) == {"unit": 1.0}
        assert installation.tables.completed_counts(a) == {}
        assert [attempts for attempts, _ in installation.spent()] == [0]
    finally:
        search.broken = False
    installation.wait_settled()
    assert installation.tables.completed_counts(a) == {"unit": 2.0}
    assert [installation.failures(learner) for learner in (a, b, d)] == [[], [], []]


def test_without_a_search_service_the_reason_says_so(make_installation: MakeInstallation) -> None:
    with make_installation({**SETTINGS, "RETRY_ATTEMPTS": "2", "RETRY_BACKOFF_FIRST": "0.1"}) as installation:
        learner = _prepare(installation)
        installation.start().sync(learner)
        (event,) = installation.failures(learner)
        assert event["failInfo"]["errorCode"] == "RELATIONS_MISSING"
        assert event["failInfo"]["attempts"] == 2
        assert "service.search.basePath" in event["failInfo"]["error"]
