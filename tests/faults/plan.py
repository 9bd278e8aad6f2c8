"""Who is in a load: courses and learners of every kind, drawn from a seed, as cases of tests/oracle.py."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any

from tests import oracle
from tests.support.installation import unique
from tests.support.relations import CourseTree, course_of_units
from tests.support.tables import Learner

#: The product's default switches.
SWITCHES = {"module_aggregates": True, "filter_processed": True, "optional_nodes": True}

#: When those were completed who are completed before a load begins, in milliseconds since 1970.
LONG_AGO_MS = 1_650_000_000_000


class Kind(StrEnum):
    """What a learner has done when the request comes."""

    COMPLETE = "has done everything, and is stuck at status 1"
    BUT_OPTIONAL = "has done everything but what is optional"
    IN_PROGRESS = "has done a part"
    NOTHING = "has opened nothing"
    LONG_COMPLETED = "was completed long ago"
    REGRESSED = "was completed long ago, and has less than that now"


_SHARES: Mapping[Kind, int] = {
    Kind.COMPLETE: 11,
    Kind.BUT_OPTIONAL: 3,
    Kind.IN_PROGRESS: 3,
    Kind.NOTHING: 1,
    Kind.LONG_COMPLETED: 1,
    Kind.REGRESSED: 1,
}


@dataclass(frozen=True, slots=True)
class Planned:
    """A learner of a load, with the oracle's case of what stands in the tables before."""

    learner: Learner
    kind: Kind
    case: oracle.Case

    @property
    def contents(self) -> dict[str, int | None]:
        """The contents that the learner opened, with their status."""
        return {row["contentid"]: row["status"] for row in self.case["consumption"]}


def make_course(random: Random) -> CourseTree:
    """Make a course of two to four units with two to four contents each; one content is optional."""
    course = unique("do")
    units = {
        f"{course}_unit{unit}": {f"{course}_content{unit}-{number}" for number in range(random.randint(2, 4))}
        for unit in range(random.randint(2, 4))
    }
    plain = course_of_units(course, units)
    unit = random.choice(sorted(units))
    optional = {random.choice(sorted(units[unit]))}
    return CourseTree(course, plain.leaf_nodes, {course: optional, unit: optional}, plain.ancestors)


def plan(random: Random, learners: int, courses: int) -> tuple[list[CourseTree], list[Planned]]:
    """Draw courses and learners; the same seed gives the same kinds, courses and clicks under new ids."""
    trees = [make_course(random) for _ in range(courses)]
    batches = {tree.course: [unique("batch"), unique("batch")] for tree in trees}
    prefix = unique("user")
    kinds = random.choices(list(_SHARES), list(_SHARES.values()), k=learners)
    planned = []
    for number, kind in enumerate(kinds):
        tree = random.choice(trees)
        learner = Learner(f"{prefix}-{number}", tree.course, random.choice(batches[tree.course]))
        planned.append(Planned(learner, kind, _case(random, tree, learner, kind)))
    return trees, planned


def _case(random: Random, tree: CourseTree, learner: Learner, kind: Kind) -> oracle.Case:
    was_completed = kind in (Kind.LONG_COMPLETED, Kind.REGRESSED)
    return {
        "user": learner.user,
        "course": learner.course,
        "batch": learner.batch,
        "consumption": _consumption(random, tree, kind),
        "enrolment": {"status": 2 if was_completed else 1, "completedon": LONG_AGO_MS if was_completed else None},
        "relations": tree.sets,
        "switches": SWITCHES,
        "course_status": "Live",
    }


def _consumption(random: Random, tree: CourseTree, kind: Kind) -> list[dict[str, Any]]:
    contents = sorted(tree.leaf_nodes[tree.course])
    optional = set(tree.optional_nodes[tree.course])
    required = [content for content in contents if content not in optional]
    match kind:
        case Kind.COMPLETE | Kind.LONG_COMPLETED:
            done, opened = contents, []
        case Kind.BUT_OPTIONAL:
            done, opened = required, random.choice([[], sorted(optional)])
        case Kind.IN_PROGRESS | Kind.REGRESSED:
            count = random.randint(1, len(required) - 1)
            done, opened = required[:count], required[count : count + random.randint(0, 1)]
        case Kind.NOTHING:
            done, opened = [], []
    return [
        *({"contentid": content, "status": 2} for content in done),
        *({"contentid": content, "status": random.choice([1, None])} for content in opened),
    ]
