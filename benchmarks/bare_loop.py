"""What the drivers alone allow one thread: a loop that does a request's reads and writes one after the other.

No queue, no ledger, no events, no retries, nothing but the CQL and the sets that a request needs: the yardstick of
`make bench`.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import redis
from cassandra import ConsistencyLevel
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, Session
from cassandra.query import BatchStatement, BatchType, tuple_factory

from devstack.ports import HOST, Ports
from reconciliation.model import COMPLETED
from reconciliation.statements import StatementTexts, Tables, statement_texts
from tests.support.tables import Learner

_RELATION_DATABASE = 10


@dataclass(frozen=True, slots=True)
class BareResult:
    """Seconds that the loop took, and seconds of CPU that this process spent on it."""

    seconds: float
    cpu_seconds: float


def run_bare_loop(ports: Ports, keyspace: str, learners: Sequence[Learner]) -> BareResult:
    """Reconcile these learners one at a time, over connections that are open when the time begins."""
    tables = Tables(keyspace, "user_content_consumption", "user_enrolments", "user_activity_agg")
    profile = ExecutionProfile(consistency_level=ConsistencyLevel.LOCAL_QUORUM, row_factory=tuple_factory)
    cluster = Cluster(
        [HOST], port=ports.cassandra, protocol_version=4, execution_profiles={EXEC_PROFILE_DEFAULT: profile}
    )
    try:
        loop = _Loop(cluster.connect(), ports, statement_texts(tables, write_timestamps=True))
        began, cpu_began = time.perf_counter(), time.process_time()
        for learner in learners:
            loop.reconcile(learner)
        return BareResult(time.perf_counter() - began, time.process_time() - cpu_began)
    finally:
        cluster.shutdown()


class _Loop:
    def __init__(self, session: Session, ports: Ports, texts: StatementTexts) -> None:
        self._session = session
        self._redis = redis.Redis(host=HOST, port=ports.redis, db=_RELATION_DATABASE, decode_responses=True)
        self._consumption = session.prepare(texts.read_consumption)
        self._enrolment = session.prepare(texts.read_enrolment)
        self._aggregate = session.prepare(texts.add_aggregate)
        self._update = session.prepare(texts.write_enrolment)
        self._complete = session.prepare(texts.write_completed_enrolment)

    def reconcile(self, learner: Learner) -> None:
        stamp_us = time.time_ns() // 1000
        reads = [self._session.execute_async(read, learner.ids) for read in (self._consumption, self._enrolment)]
        consumed = dict(reads[0].result().current_rows)
        reads[1].result()
        required, units = self._relations(learner.course, consumed)
        done = {content for content, status in consumed.items() if status == COMPLETED}
        now_ms = stamp_us // 1000
        batch = BatchStatement(BatchType.UNLOGGED)
        for activity, members in {**units, learner.course: required}.items():
            count = float(len(members & done))
            values = ({"completedCount": count}, {"completedCount": now_ms})
            batch.add(
                self._aggregate,
                (stamp_us, *values, "Course", activity, learner.user, f"cb:{learner.batch}"),
            )
        self._session.execute(batch)
        cells = (stamp_us, len(required & done), consumed, now_ms)
        if required <= done:
            self._session.execute(self._complete, (*cells, now_ms, COMPLETED, *learner.ids))
        else:
            self._session.execute(self._update, (*cells, *learner.ids))

    def _relations(self, course: str, consumed: dict[str, int]) -> tuple[set[str], dict[str, set[str]]]:
        first = self._redis.pipeline(transaction=False)
        for relation in ("leafnodes", "optionalnodes"):
            first.smembers(f"{course}:{course}:{relation}")
        for content in consumed:
            first.smembers(f"{course}:{content}:ancestors")
        leaves, optional, *ancestors = first.execute()
        units = sorted(set().union(*ancestors) - {course})
        second = self._redis.pipeline(transaction=False)
        for unit in units:
            for relation in ("leafnodes", "optionalnodes"):
                second.smembers(f"{course}:{unit}:{relation}")
        sets = second.execute()
        return leaves - optional, {unit: sets[at * 2] - sets[at * 2 + 1] for at, unit in enumerate(units)}
