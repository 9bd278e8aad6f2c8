"""Processes that are killed or ended, and a database that goes away, in the middle of the work."""

from collections.abc import Iterator

import pytest

from devstack.stack import Stack
from tests.integration.conftest import MakeInstallation
from tests.support.events import audit_learner, certificate_learner
from tests.support.installation import Installation, new_learner, unique
from tests.support.processes import GRACE_SECONDS
from tests.support.relations import course_of_units
from tests.support.tables import Learner
from tests.support.waiting import wait_until

LEARNERS = 400
#: How long everything may take to be done after a kill: leases and sweeps included.
LIMIT_SECONDS = 90.0

SETTINGS = {
    "LEDGER_LEASE": "4",
    "LEDGER_SWEEP_AFTER": "1.5",
    "LEDGER_SWEEP_MAX_WAIT": "5",
    "LEDGER_SWEEP_INTERVAL": "0.2",
    # small groups make the work last longer, and more of it stands open at every moment
    "BRIDGE_GROUP_SIZE": "5",
    "BRIDGE_POLL_RECORDS": "40",
    "WORKER_THREADS": "2",
    "OUTAGE_BACKOFF_MOST": "2",
    "LMS_CASSANDRA_TIMEOUT": "3",
}


@pytest.fixture
def installation(make_installation: MakeInstallation) -> Iterator[Installation]:
    with make_installation(SETTINGS) as made:
        yield made


@pytest.fixture
def learners(installation: Installation) -> list[Learner]:
    """Learners who have completed their course, but for every fourth, who hasn't."""
    course = unique("do")
    installation.relations.fill(course_of_units(course, {"unit1": {"a"}, "unit2": {"b"}}))
    learners = [new_learner(course) for _ in range(LEARNERS)]
    installation.tables.add_consumption(
        {learner: {"a": 2, "b": 2 if number % 4 else 1} for number, learner in enumerate(learners)}
    )
    installation.tables.add_enrolments(learners)
    return learners


def _wait_for_some_work(installation: Installation, certificates: int = 20) -> None:
    """Wait until so many certificates are issued; there must be more work ahead then, or the test shows nothing."""
    wait_until("the first completions", lambda: len(installation.certificates.records()) >= certificates)
    assert installation.open_count() > 0 or installation.behind() != {}


def _check_all_done(installation: Installation, learners: list[Learner]) -> None:
    rows = installation.tables.all_enrolments()
    completed = set()
    for number, learner in enumerate(learners):
        row, is_complete = rows[learner], number % 4 != 0
        assert (row["status"], row["progress"]) == ((2, 2) if is_complete else (1, 1))
        assert row["contentstatus"] == {"a": 2, "b": 2 if is_complete else 1}
        if is_complete:
            completed.add(learner)
    certificates, audits = installation.certificates.records(), installation.audits.records()
    assert {certificate_learner(record) for record in certificates} == completed
    assert {audit_learner(record) for record in audits} == completed
    # a kill between an event and the ledger's word of it repeats the event: under the same mid, for the same row
    mids: dict[Learner, set[str]] = {}
    for record in certificates:
        mids.setdefault(certificate_learner(record), set()).add(record.event["mid"])
    for learner, own in mids.items():
        (mid,) = own
        assert mid.startswith(f"LP.{rows[learner]['completedon']}.")
    counts = installation.tables.all_completed_counts()
    for number, learner in enumerate(learners):
        for activity, count in ((learner.course, 2.0 if number % 4 else 1.0), ("unit1", 1.0)):
            assert counts[activity, learner.user, learner.batch] == count
    assert installation.failed.records() == []


def _check_announced_exactly_once(installation: Installation) -> None:
    for topic, learner_of in ((installation.certificates, certificate_learner), (installation.audits, audit_learner)):
        told = [learner_of(record) for record in topic.records()]
        assert len(told) == len(set(told))


def test_a_worker_that_is_killed_loses_nothing(installation: Installation, learners: list[Learner]) -> None:
    installation.start().send(*learners)
    for certificates in (20, 120):
        _wait_for_some_work(installation, certificates)
        installation.worker.kill()
        installation.worker.start()
    installation.wait_settled(LIMIT_SECONDS)

    _check_all_done(installation, learners)


def test_a_bridge_that_is_killed_loses_nothing(installation: Installation, learners: list[Learner]) -> None:
    installation.start().send(*learners)
    wait_until("the first requests accepted", installation.open_count)
    installation.bridge.kill()
    installation.bridge.start()
    installation.wait_settled(LIMIT_SECONDS)

    _check_all_done(installation, learners)
    # nobody interrupted the worker, so nothing was announced twice
    _check_announced_exactly_once(installation)


def test_busy_processes_end_in_order_and_lose_nothing(installation: Installation, learners: list[Learner]) -> None:
    installation.start().send(*learners)
    _wait_for_some_work(installation)

    for process in installation.processes:
        process.ask_to_end()
    for process in installation.processes:
        assert process.wait(GRACE_SECONDS) == 0, process.told()

    assert len(installation.certificates.records()) < LEARNERS * 3 // 4
    installation.start().wait_settled(LIMIT_SECONDS)
    _check_all_done(installation, learners)
    _check_announced_exactly_once(installation)


@pytest.mark.parametrize(("harm", "heal"), [("stop", "resume"), ("kill", "start")], ids=["hangs", "is killed"])
def test_cassandra_may_be_away_for_a_while(
    installation: Installation, learners: list[Learner], stack: Stack, harm: str, heal: str
) -> None:
    installation.start().send(*learners)
    _wait_for_some_work(installation)
    cassandra = stack.server("cassandra")
    getattr(cassandra, harm)()
    try:
        # every attempt that runs has to meet the outage, and some have to come round again
        wait_until(
            "requests that wait for Cassandra",
            lambda: [waits for _, waits in installation.spent() if waits >= 2],
            LIMIT_SECONDS,
        )
    finally:
        getattr(cassandra, heal)()
        installation.tables.wait_ready()
    installation.wait_settled(LIMIT_SECONDS)

    _check_all_done(installation, learners)


def test_a_worker_ends_in_time_though_redis_hangs(make_installation: MakeInstallation, stack: Stack) -> None:
    with make_installation({**SETTINGS, "WORKER_SHUTDOWN_LIMIT": "3"}) as installation:
        learner = new_learner()
        installation.relations.fill(course_of_units(learner.course, {"unit": {"a"}}))
        installation.tables.add_consumption({learner: {"a": 2}})
        installation.start().sync(learner)
        redis = stack.server("redis")
        redis.stop()
        try:
            installation.worker.ask_to_end()
            assert installation.worker.wait(30) == 0
        finally:
            redis.resume()
        assert "did not end in time" in installation.worker.output()
        installation.worker.start()
        installation.sync(learner)


@pytest.mark.parametrize(("harm", "heal"), [("stop", "resume"), ("kill", "start")], ids=["hangs", "is killed"])
def test_redis_may_be_away_for_a_while(
    installation: Installation, learners: list[Learner], stack: Stack, harm: str, heal: str
) -> None:
    installation.start().send(*learners)
    _wait_for_some_work(installation)
    redis = stack.server("redis")
    getattr(redis, harm)()
    try:
        # the bridge says so when it has given up its first call
        wait_until("the bridge's pause", lambda: "paused" in installation.bridge.output(), LIMIT_SECONDS)
    finally:
        getattr(redis, heal)()

    def settled_under_a_supervisor() -> bool:
        if not installation.worker.is_running:
            # Celery may end a busy worker when its broker vanishes (docs/reliability.md, stopping)
            installation.worker.start()
        return installation.open_count() == 0 and installation.behind() == {}

    wait_until("everything settled", settled_under_a_supervisor, LIMIT_SECONDS)
    _check_all_done(installation, learners)
