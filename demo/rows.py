"""Puts the learners' rows and the courses' relation sets in place, and reads the rows again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import redis
from cassandra.concurrent import execute_concurrent
from cassandra.query import PreparedStatement

from demo.course import Course
from demo.learners import Enrolment, Learner
from demo.run import Run
from devstack.cassandra import session
from devstack.ports import HOST

RELATION_DATABASE = 10
_LIMIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Rows:
    """What the tables say of one learner: the enrolment (None: no row), and each node's completedCount."""

    enrolment: Enrolment | None
    aggregates: Mapping[str, float]


def load_relations(run: Run, courses: Sequence[Course]) -> int:
    """Fill the relation cache with the courses' sets, as its own job would; returns how many sets there are."""
    count = 0
    with _relations(run) as client, client.pipeline(transaction=False) as pipeline:
        for course in courses:
            for key, members in course.relation_sets().items():
                pipeline.delete(key)
                pipeline.sadd(key, *members)
                count += 1
        pipeline.execute()
    return count


def remove_relations(run: Run, courses: Sequence[Course]) -> None:
    """Remove these courses' sets."""
    with _relations(run) as client:
        client.delete(*(key for course in courses for key in course.relation_sets()))


def load_learners(run: Run, learners: Sequence[Learner]) -> int:
    """Write what the learners consumed and how they are enrolled; returns the number of rows."""
    now = datetime.now(UTC)
    with session(HOST, run.ports.cassandra) as connected:
        connected.set_keyspace(run.keyspace)
        consumption = connected.prepare(
            "INSERT INTO user_content_consumption (userid, courseid, batchid, contentid, status, viewcount,"
            " last_access_time) VALUES (?, ?, ?, ?, ?, 1, ?)"
        )
        # a cell that is not named stays empty
        enrolled = connected.prepare(
            "INSERT INTO user_enrolments (userid, courseid, batchid, active, enrolled_date) VALUES (?, ?, ?, true, ?)"
        )
        progress = connected.prepare(
            "UPDATE user_enrolments SET progress = ? WHERE userid = ? AND courseid = ? AND batchid = ?"
        )
        status = connected.prepare(
            "UPDATE user_enrolments SET status = ? WHERE userid = ? AND courseid = ? AND batchid = ?"
        )
        completed_on = connected.prepare(
            "UPDATE user_enrolments SET completedon = ? WHERE userid = ? AND courseid = ? AND batchid = ?"
        )
        statements: list[tuple[PreparedStatement, tuple[object, ...]]] = []
        for learner in learners:
            key = _key(learner)
            statements += [(consumption, (*key, it.content_id, it.status, now)) for it in learner.consumed]
            if learner.before is not None:
                before = learner.before
                cells = ((progress, before.progress), (status, before.status), (completed_on, before.completed_on))
                statements.append((enrolled, (*key, now)))
                statements += [(statement, (value, *key)) for statement, value in cells if value is not None]
        execute_concurrent(connected, statements, concurrency=32, raise_on_first_error=True)
    return sum(len(learner.consumed) + (learner.before is not None) for learner in learners)


def read_learners(run: Run, learners: Sequence[Learner]) -> list[Rows]:
    """Read the enrolment and the aggregates of each learner, in their order."""
    with session(HOST, run.ports.cassandra) as connected:
        connected.set_keyspace(run.keyspace)
        enrolment = connected.prepare(
            "SELECT progress, status, completedon FROM user_enrolments"
            " WHERE userid = ? AND courseid = ? AND batchid = ?"
        )
        aggregate = connected.prepare(
            "SELECT aggregates FROM user_activity_agg"
            " WHERE activity_type = 'Course' AND activity_id = ? AND user_id = ? AND context_id = ?"
        )
        pending = [
            (
                connected.execute_async(enrolment, _key(learner)),
                {
                    node_id: connected.execute_async(
                        aggregate, (node_id, learner.user_id, f"cb:{learner.course.batch_id}")
                    )
                    for node_id in _nodes(learner.course)
                },
            )
            for learner in learners
        ]
        return [
            Rows(
                _enrolment(row.result().one()),
                {
                    node_id: found.aggregates["completedCount"]
                    for node_id, future in nodes.items()
                    if (found := future.result().one()) is not None
                },
            )
            for row, nodes in pending
        ]


def _enrolment(row: Any | None) -> Enrolment | None:
    if row is None:
        return None
    progress, status, completed_on = row
    return Enrolment(progress, status, completed_on.replace(tzinfo=UTC) if completed_on else None)


def _nodes(course: Course) -> tuple[str, ...]:
    return (course.course_id, *(unit.unit_id for unit in course.all_units()))


def _key(learner: Learner) -> tuple[str, str, str]:
    return learner.user_id, learner.course.course_id, learner.course.batch_id


def _relations(run: Run) -> redis.Redis:
    return redis.Redis(
        host=HOST,
        port=run.ports.redis,
        db=RELATION_DATABASE,
        socket_timeout=_LIMIT_SECONDS,
        socket_connect_timeout=_LIMIT_SECONDS,
    )
