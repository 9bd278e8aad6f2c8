"""The two examples that the Flink job's own tests use, on both key layouts of user_activity_agg."""

import time
from collections.abc import Iterator

import pytest

from devstack.schema import AggregateLayout
from tests.integration.conftest import MakeInstallation
from tests.support.events import check_audit, check_certificate
from tests.support.installation import Installation
from tests.support.relations import course_of_units
from tests.support.tables import Learner

UNFINISHED = Learner("8454cb21-3ce9-4e30-85b5-fade097880d8", "do_1127212344324751361295", "0126083288437637121")
FIRST, SECOND, THIRD = (f"do_1126073547114905601{number}" for number in (2299, 2300, 2301))
UNFINISHED_UNITS = {
    "do_course_unit1": {FIRST},
    "do_course_unit2": {SECOND},
    "do_course_unit3": {THIRD, SECOND},
}
UNFINISHED_CONSUMPTION = {FIRST: 2, SECOND: 2, THIRD: 1}

FINISHED = Learner("user001", "course001", "Batch1")
FINISHED_UNITS = {"unit1": {"do_R1", "do_R3"}, "unit2": {"do_R2", "do_R3"}}
FINISHED_CONSUMPTION = {"do_R1": 2, "do_R2": 2, "do_R3": 2}


@pytest.fixture(scope="module", params=list(AggregateLayout), ids=lambda layout: layout.name.lower())
def installation(request: pytest.FixtureRequest, make_installation: MakeInstallation) -> Iterator[Installation]:
    with make_installation(layout=request.param) as made:
        made.relations.fill(
            course_of_units(UNFINISHED.course, UNFINISHED_UNITS), course_of_units(FINISHED.course, FINISHED_UNITS)
        )
        yield made.start()


def _check_aggregates(installation: Installation, learner: Learner, counts: dict[str, float], since_ms: float) -> None:
    rows = installation.tables.aggregates(learner)
    times = {activity: row["agg_last_updated"]["completedCount"] for activity, row in rows.items()}
    assert rows == {
        activity: {
            "activity_type": "Course",
            "activity_id": activity,
            "user_id": learner.user,
            "context_id": f"cb:{learner.batch}",
            "agg": None,
            "agg_details": None,
            "agg_last_updated": {"completedCount": times[activity]},
            "aggregates": {"completedCount": count},
        }
        for activity, count in counts.items()
    }
    assert all(since_ms - 1 <= moment <= time.time() * 1000 for moment in times.values())


def test_a_course_in_progress(installation: Installation) -> None:
    learner, tables = UNFINISHED, installation.tables
    counts = {learner.course: 2.0, "do_course_unit1": 1.0, "do_course_unit2": 1.0, "do_course_unit3": 1.0}
    tables.add_consumption({learner: UNFINISHED_CONSUMPTION})
    consumption = tables.consumption(learner)
    began_ms = time.time() * 1000

    installation.sync(learner)

    _check_aggregates(installation, learner, counts, began_ms)
    assert tables.enrolment(learner) is None

    tables.add_enrolments([learner])
    before = tables.enrolment(learner)
    assert before is not None
    again_ms = time.time() * 1000

    installation.sync(learner)

    _check_aggregates(installation, learner, counts, again_ms)
    after = tables.enrolment(learner)
    assert after is not None
    assert after == {**before, "progress": 2, "contentstatus": UNFINISHED_CONSUMPTION, "datetime": after["datetime"]}
    assert after["status"] == 1
    assert again_ms - 1 <= after["datetime"] <= time.time() * 1000
    assert tables.consumption(learner) == consumption
    assert installation.announced(learner).certificates == []
    assert installation.announced(learner).audits == []
    assert installation.failed.records() == []


def test_a_course_completed(installation: Installation) -> None:
    learner, tables = FINISHED, installation.tables
    tables.add_consumption({learner: FINISHED_CONSUMPTION})
    tables.add_enrolments([learner])
    consumption, before = tables.consumption(learner), tables.enrolment(learner)
    assert before is not None
    began_ms = time.time() * 1000

    installation.sync(learner)

    _check_aggregates(installation, learner, {learner.course: 3.0, "unit1": 2.0, "unit2": 2.0}, began_ms)
    after = tables.enrolment(learner)
    assert after is not None
    assert after == {
        **before,
        "status": 2,
        "progress": 3,
        "contentstatus": FINISHED_CONSUMPTION,
        "completedon": after["completedon"],
        "datetime": after["datetime"],
    }
    assert began_ms - 1 <= after["completedon"] <= time.time() * 1000
    assert began_ms - 1 <= after["datetime"] <= time.time() * 1000
    assert tables.consumption(learner) == consumption
    announced = installation.announced(learner)
    (certificate,), (audit,) = announced.certificates, announced.audits
    check_certificate(certificate, learner, after["completedon"])
    check_audit(audit, learner)
    assert installation.failed.records() == []
