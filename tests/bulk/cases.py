"""Writes cases of `tests/bulk/naive.py` into real tables, and says what a scan of them has to give."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent_with_args

from bulk.model import Found, Selection, Slice, Unjudged
from devstack.cassandra import session
from devstack.ports import HOST, Ports
from reconciliation.model import EnrolmentKey
from tests.bulk.naive import reasons, stuck_case
from tests.oracle import Case
from tests.support.relations import RelationSets
from tests.support.search import SearchService

SWITCHES = {"module_aggregates": True, "filter_processed": True, "optional_nodes": True}
STUCK = Selection(stuck=True)

ENROLMENT = (
    "INSERT INTO user_enrolments (userid, courseid, batchid, status, completedon, progress, contentstatus, active)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
CONSUMPTION = (
    "INSERT INTO user_content_consumption (userid, courseid, batchid, contentid, status) VALUES (?, ?, ?, ?, ?)"
)
AGGREGATE = (
    "UPDATE user_activity_agg SET aggregates = aggregates + ? WHERE activity_type = ? AND activity_id = ?"
    " AND user_id = ? AND context_id = ?"
)


@dataclass(frozen=True, slots=True)
class Expected:
    """What a scan has to find: the reasons by enrolment, and which enrolments nobody can judge."""

    reasons: dict[EnrolmentKey, set[str]]
    unjudged: set[EnrolmentKey]


def key_of(case: Case) -> EnrolmentKey:
    return EnrolmentKey(case["user"], case["course"], case["batch"])


def make_cases(random: Random, count: int) -> list[Case]:
    """Draw cases; some learners have many of them, and each has a course of its own that no other call makes."""
    cases = []
    first = random.randrange(10**9) * count
    for number in range(first, first + count):
        case = stuck_case(random, number, SWITCHES)
        case["user"] = f"learner{random.choice([number, number % 20])}"
        case["active"] = random.choice([True, True, False, None])
        cases.append(case)
    return cases


def expected_of(cases: Sequence[Case]) -> Expected:
    judged = {key_of(case): reasons(case) for case in cases}
    found = {key: why for key, why in judged.items() if why}
    return Expected(found, {key for key, why in judged.items() if why is None})


def found_of(slices: Sequence[Slice]) -> Expected:
    found = [it for looked in slices for it in looked.found]
    unjudged = [it.enrolment for looked in slices for it in looked.unjudged]
    assert len({it.enrolment for it in found}) == len(found), "an enrolment was found twice"
    return Expected({it.enrolment: {why.value for why in it.reasons} for it in found}, set(unjudged))


def judged_of(judgements: Sequence[Found | Unjudged | None]) -> Expected:
    found = {it.enrolment: {why.value for why in it.reasons} for it in judgements if isinstance(it, Found)}
    return Expected(found, {it.enrolment for it in judgements if isinstance(it, Unjudged)})


@contextmanager
def tables(ports: Ports, keyspace: str) -> Iterator[Session]:
    with session(HOST, ports.cassandra) as connected:
        connected.set_keyspace(keyspace)
        yield connected


def write(connected: Session, statement: str, values: Sequence[tuple[object, ...]]) -> None:
    execute_concurrent_with_args(connected, connected.prepare(statement), values, concurrency=50)


def write_cases(connected: Session, relations: RelationSets, search: SearchService, cases: Sequence[Case]) -> None:
    """Write all that the cases say, and beside it rows that no case knows: foreign entries, and rows that are gone."""
    enrolments, consumption, counts = [], [], []
    for case in cases:
        ids, row = (case["user"], case["course"], case["batch"]), case["enrolment"]
        cells = (row["status"], row["completedon"], row["progress"], row["contentstatus"], case.get("active", True))
        enrolments.append((*ids, *cells))
        consumption += [(*ids, it["contentid"], it["status"]) for it in case["consumption"]]
        context = f"cb:{case['batch']}"
        counts += [
            ({"completedCount": count, "score:do_test": 5.0}, "Course", activity, case["user"], context)
            for activity, count in case["counts"].items()
        ]
        # other rows that look much like ours
        counts += [
            ({"completedCount": 77.0}, "Unit", case["course"], case["user"], context),
            ({"completedCount": 77.0}, "Course", case["course"], case["user"], "cb:another"),
            ({"max_score:do_test": 9.0}, "Course", f"{case['course']}_quiz", case["user"], context),
        ]
        relations.fill_sets(case["relations"])
        if case["course_status"] is not None:
            search.statuses[case["course"]] = case["course_status"]
    write(connected, ENROLMENT, enrolments)
    write(connected, CONSUMPTION, [*consumption, ("nobody", "do_course0", "batch0", "do_x", 2)])
    write(connected, AGGREGATE, counts)
    gone = [(user, course, "gone") for user, course, *_ in enrolments[::10]]
    write(connected, ENROLMENT, [(*ids, 1, None, 5, {"a": 2}, True) for ids in gone])
    write(connected, CONSUMPTION, [(*ids, "a", 2) for ids in gone])
    write(connected, "DELETE FROM user_enrolments WHERE userid = ? AND courseid = ? AND batchid = ?", gone)
