"""What is measured on: courses of units with contents, and learners of whom a share has done everything."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from cassandra import ConsistencyLevel
from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent
from cassandra.query import BatchStatement, BatchType

from devstack.cassandra import session
from devstack.ports import HOST
from tests.support.installation import unique
from tests.support.relations import CourseTree, RelationSets, course_of_units
from tests.support.tables import Learner

_AT_ONCE = 64
_ROWS_A_BATCH = 100


@dataclass(frozen=True, slots=True)
class Shape:
    """How large the work is: `learners` a round, each in one of `courses`, `complete` the share that is done."""

    learners: int = 10_000
    courses: int = 50
    units: int = 6
    contents_a_unit: int = 5
    complete: float = 0.5

    @property
    def contents(self) -> int:
        """How many contents a course has."""
        return self.units * self.contents_a_unit

    @property
    def completions(self) -> int:
        """How many learners of a round have done everything."""
        return round(self.learners * self.complete)


@dataclass(frozen=True, slots=True)
class Round:
    """The learners of one round; the first `completions` of them have done everything."""

    learners: tuple[Learner, ...]
    completions: int

    def shuffled(self, random: Random) -> list[Learner]:
        """Give the learners in the order in which they ask."""
        learners = list(self.learners)
        random.shuffle(learners)
        return learners


class Workload:
    """Fills relation cache and tables for a shape.

    Args:
        shape: how large it is.
        port: Cassandra's.
        keyspace: its tables exist.
        relations: where the courses' sets go.
        random: what is drawn.

    """

    def __init__(self, shape: Shape, port: int, keyspace: str, relations: RelationSets, random: Random) -> None:
        self.shape = shape
        self._port = port
        self._keyspace = keyspace
        self._random = random
        self.courses = [_course(shape) for _ in range(shape.courses)]
        relations.fill(*self.courses)

    def add_round(self) -> Round:
        """Write the rows of new learners as the course service leaves them, and give the learners."""
        shape, prefix, batch = self.shape, unique("user"), unique("batch")
        learners = tuple(
            Learner(f"{prefix}-{number}", self._random.choice(self.courses).course, batch)
            for number in range(shape.learners)
        )
        contents = {tree.course: sorted(tree.leaf_nodes[tree.course]) for tree in self.courses}
        with session(HOST, self._port) as connected:
            connected.set_keyspace(self._keyspace)
            _run(connected, _consumption(connected, learners, contents, shape))
            _run(connected, _enrolments(connected, learners))
        return Round(learners, shape.completions)


def _course(shape: Shape) -> CourseTree:
    course = unique("do")
    return course_of_units(
        course,
        {
            f"{course}_u{unit}": {f"{course}_c{unit}_{content}" for content in range(shape.contents_a_unit)}
            for unit in range(shape.units)
        },
    )


def _consumption(
    connected: Session, learners: Sequence[Learner], contents: dict[str, list[str]], shape: Shape
) -> Iterable[BatchStatement]:
    insert = connected.prepare(
        "INSERT INTO user_content_consumption (userid, courseid, batchid, contentid, status, progress, viewcount)"
        " VALUES (?, ?, ?, ?, 2, 100, 7)"
    )
    for number, learner in enumerate(learners):
        done = contents[learner.course][: None if number < shape.completions else max(1, shape.contents // 2)]
        for start in range(0, len(done), _ROWS_A_BATCH):
            batch = BatchStatement(BatchType.UNLOGGED, consistency_level=ConsistencyLevel.LOCAL_QUORUM)
            for content in done[start : start + _ROWS_A_BATCH]:
                batch.add(insert, (*learner.ids, content))
            yield batch


def _enrolments(connected: Session, learners: Sequence[Learner]) -> Iterable[BatchStatement]:
    insert = connected.prepare(
        "INSERT INTO user_enrolments (userid, courseid, batchid, active, addedby, status, certificates, enrolleddate)"
        " VALUES (?, ?, ?, true, 'admin', 1, [{'name': 'old', 'token': 'T1'}], '2023-05-08 10:00:00:000+0000')"
    )
    for learner in learners:
        batch = BatchStatement(BatchType.UNLOGGED, consistency_level=ConsistencyLevel.LOCAL_QUORUM)
        batch.add(insert, learner.ids)
        yield batch


def _run(connected: Session, statements: Iterable[BatchStatement]) -> None:
    execute_concurrent(connected, ((statement, None) for statement in statements), concurrency=_AT_ONCE)
