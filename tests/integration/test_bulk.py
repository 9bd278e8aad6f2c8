"""Hundreds of learners at once, every row and event held against the oracle."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from devstack.schema import AggregateLayout
from tests import oracle
from tests.conftest import MakeKeyspace
from tests.integration.conftest import MakeInstallation
from tests.support.events import audit_learner, certificate_learner, check_audit, check_certificate
from tests.support.installation import Installation
from tests.support.search import SearchService
from tests.support.tables import OTHERS_CELLS, Learner, Row

COURSES = 50
LEARNERS_OF_A_COURSE = 8
#: How long the whole load may take.
LIMIT_SECONDS = 120.0

SWITCHES = {"module_aggregates": True, "filter_processed": True, "optional_nodes": True}


@dataclass(frozen=True, slots=True)
class Load:
    """What was there before the requests came, and since when they come."""

    cases: dict[Learner, oracle.Case]
    rows_before: dict[Learner, Row]
    began_ms: float


@pytest.fixture(scope="module")
def random() -> Random:
    seed = int(os.environ.get("TEST_SEED") or Random().randrange(2**32))
    print(f"TEST_SEED={seed}")  # noqa: T201 - pytest shows it where a test fails
    return Random(seed)


@pytest.fixture(scope="module")
def search() -> Iterator[SearchService]:
    service = SearchService()
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="module", params=list(AggregateLayout), ids=lambda layout: layout.name.lower())
def installation(
    request: pytest.FixtureRequest,
    make_installation: MakeInstallation,
    make_keyspace: MakeKeyspace,
    search: SearchService,
) -> Iterator[Installation]:
    settings = {"SERVICE_SEARCH_BASEPATH": search.base_path}
    with make_installation(settings, keyspace=make_keyspace(request.param)) as made:
        yield made


def _make_cases(random: Random) -> dict[Learner, oracle.Case]:
    """Make courses and several learners of each; every course without leaf nodes is a retired one."""
    cases = {}
    for number in range(COURSES):
        course_case = oracle.make_case(random, random.randrange(2**60))
        course, relations = course_case["course"], course_case["relations"]
        contents = sorted({key.split(":")[1] for key in relations if key.endswith(":ancestors")})
        for place in range(LEARNERS_OF_A_COURSE):
            learner = Learner(f"user{number}-{place}", course, f"batch{place % 2}")
            cases[learner] = {
                **course_case,
                "user": learner.user,
                "batch": learner.batch,
                "consumption": oracle._make_consumption(random, [*contents, f"{course}_foreign"]),
                "enrolment": oracle._make_enrolment(random),
                "switches": SWITCHES,
                "course_status": "Retired",
            }
    return cases


@pytest.fixture(scope="module")
def load(installation: Installation, random: Random, search: SearchService) -> Load:
    """All requests sent at once, some of them several times, and settled."""
    cases = _make_cases(random)
    for case in cases.values():
        search.statuses[case["course"]] = case["course_status"]
        installation.relations.fill_sets(case["relations"])
    installation.tables.add_consumption(
        {learner: {row["contentid"]: row["status"] for row in case["consumption"]} for learner, case in cases.items()}
    )
    for learner, case in cases.items():
        if case["enrolment"] is not None:
            installation.tables.add_enrolments([learner], **case["enrolment"])
    rows_before = installation.tables.all_enrolments()
    requests = [learner for learner in cases for _ in range(random.choice([1, 1, 1, 2, 4]))]
    random.shuffle(requests)
    began_ms = time.time() * 1000
    installation.start().sync(*requests, limit=LIMIT_SECONDS)
    return Load(cases, rows_before, began_ms)


def test_every_enrolment_is_what_the_oracle_says(installation: Installation, load: Load) -> None:
    expected = {}
    actual = installation.tables.all_enrolments()
    for learner, case in load.cases.items():
        worked_out = oracle.expect(case)
        if worked_out["enrolment"] is None:
            continue
        expected[learner] = load.rows_before[learner]
        if worked_out["enrolment_written"]:
            row = actual[learner]
            times = {"datetime": row["datetime"], **_completed_on(worked_out, row)}
            expected[learner] = {**expected[learner], **worked_out["enrolment"], **times}
            assert all(load.began_ms - 1 <= moment <= time.time() * 1000 for moment in times.values())
    assert actual == expected
    assert all(row[name] is not None for row in actual.values() for name in OTHERS_CELLS)


def _completed_on(worked_out: oracle.Expected, row: Row) -> dict[str, Any]:
    return {"completedon": row["completedon"]} if worked_out["enrolment"]["completedon"] == oracle.NOW else {}


def test_every_aggregate_is_what_the_oracle_says(installation: Installation, load: Load) -> None:
    assert installation.tables.all_completed_counts() == {
        (activity, learner.user, learner.batch): count
        for learner, case in load.cases.items()
        for activity, count in oracle.expect(case)["aggregates"].items()
    }


def test_every_completion_is_announced_exactly_once(installation: Installation, load: Load) -> None:
    completed = sorted(learner for learner, case in load.cases.items() if oracle.expect(case)["events"])
    certificates, audits = installation.certificates.records(), installation.audits.records()

    assert sorted(map(certificate_learner, certificates)) == completed
    assert sorted(map(audit_learner, audits)) == completed
    # enough of each kind, or the load shows nothing
    assert 50 < len(completed) < len(load.cases) - 50
    rows = installation.tables.all_enrolments()
    for record in certificates:
        check_certificate(record, certificate_learner(record), rows[certificate_learner(record)]["completedon"])
    for record in audits:
        check_audit(record, audit_learner(record))


def test_nothing_failed_and_nothing_is_left(installation: Installation, load: Load) -> None:
    assert load.cases
    assert installation.failed.records() == []
    assert installation.behind() == {}
    assert installation.open_count() == 0
    assert installation.leftovers() == []
