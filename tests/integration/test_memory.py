"""A worker's memory stays level, however many requests it has answered."""

from collections.abc import Iterator

import pytest

from tests.integration.conftest import MakeInstallation
from tests.support.installation import Installation, new_learner, unique
from tests.support.relations import course_of_units

REQUESTS = 3_000
WARM_AFTER = 1_000
#: Three kilobytes a request; what was measured is a megabyte or two in all, since allocators breathe.
MOST_GROWTH_MEGABYTES = 6.0
LIMIT_SECONDS = 90.0


@pytest.fixture
def installation(make_installation: MakeInstallation) -> Iterator[Installation]:
    with make_installation() as made:
        yield made.start()


def test_memory_stays_level(installation: Installation) -> None:
    courses = [unique("do") for _ in range(20)]
    installation.relations.fill(*(course_of_units(course, {"unit1": {"a", "b"}, "unit2": {"c"}}) for course in courses))
    learners = [new_learner(courses[number % len(courses)]) for number in range(REQUESTS)]
    # half of them complete, so that events leave too
    installation.tables.add_consumption(
        {learner: {"a": 2, "b": 2, "c": 2 if number % 2 else 1} for number, learner in enumerate(learners)}
    )
    installation.tables.add_enrolments(learners)

    installation.sync(*learners[:WARM_AFTER], limit=LIMIT_SECONDS)
    before = {process.name: process.resident_megabytes() for process in installation.processes}
    installation.sync(*learners[WARM_AFTER:], limit=LIMIT_SECONDS)
    growth = {process.name: process.resident_megabytes() - before[process.name] for process in installation.processes}

    assert len(installation.certificates.records()) == REQUESTS // 2
    assert all(megabytes < MOST_GROWTH_MEGABYTES for megabytes in growth.values()), (before, growth)
