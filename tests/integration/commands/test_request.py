"""`request`: real requests, followed to their end."""

from collections.abc import Iterator

import pytest

from tests.integration.conftest import MakeInstallation
from tests.support.installation import Installation, new_learner
from tests.support.relations import course_of_units
from tests.support.tables import Learner

SETTINGS = {"RETRY_ATTEMPTS": "2", "RETRY_BACKOFF_FIRST": "0.2", "LEDGER_SWEEP_INTERVAL": "0.1"}


@pytest.fixture(scope="module")
def installation(make_installation: MakeInstallation) -> Iterator[Installation]:
    with make_installation(SETTINGS) as made:
        yield made.start()


def enrolled(installation: Installation, *learners: Learner) -> None:
    for learner in learners:
        installation.relations.fill(course_of_units(learner.course, {"unit": {"a"}}))
    installation.tables.add_consumption({learner: {"a": 2} for learner in learners})
    installation.tables.add_enrolments(learners)


def test_one_request_is_followed_to_its_end(installation: Installation) -> None:
    learner = new_learner()
    enrolled(installation, learner)
    ids = ("--user", learner.user, "--course", learner.course, "--batch", learner.batch)
    out = installation.operate("request", *ids, "--wait", "60", "--json")
    print(out)
    assert 0
