"""Learners whose requests are poison to the processes that have the folder `poison` on their PYTHONPATH."""

from collections.abc import Sequence
from pathlib import Path

from tests.support.installation import Installation, unique
from tests.support.relations import course_of_units
from tests.support.tables import Learner

POISON = str(Path(__file__).with_name("poison"))
#: The ways in which a request may be poison.
HARMS = ("raises", "hangs", "kills")


def innocents_and(
    site: Installation, poison: Sequence[str], innocents: int = 120
) -> tuple[list[Learner], list[Learner]]:
    """Write a completed course for everybody; gives the innocent and the poisonous learners, one for each harm."""
    course, batch = unique("do"), unique("batch")
    site.relations.fill(course_of_units(course, {"unit": {"a"}}))
    innocent = [Learner(unique("user"), course, batch) for _ in range(innocents)]
    poisonous = [Learner(unique(f"poison-{harm}"), course, batch) for harm in poison]
    site.tables.add_consumption({learner: {"a": 2} for learner in [*innocent, *poisonous]})
    site.tables.add_enrolments([*innocent, *poisonous])
    return innocent, poisonous
