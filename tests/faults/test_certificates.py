"""A worker is killed at each step around a completion: its certificate leaves all the same, and never too early."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import KafkaException

from devstack.stack import Stack
from tests.faults.conftest import MakeSite
from tests.faults.site import PATIENT, Site
from tests.faults.stage import LIMIT, SETTINGS, Stage
from tests.support.cassandra_proxy import aggregate_write, completion_write
from tests.support.checks import check_announced_once
from tests.support.events import certificate_learner
from tests.support.installation import new_learner, unique
from tests.support.kafka import Received, TopicReader
from tests.support.kafka_proxy import produce_to
from tests.support.redis_proxy import ledger_step
from tests.support.relations import course_of_units
from tests.support.relay import Fault, Treatment
from tests.support.tables import Learner
from tests.support.waiting import wait_until

HOLD, KEEP = Treatment.HOLD_REQUEST, Treatment.HOLD_ANSWER


@pytest.fixture
def stage(shared_stage: Stage) -> Iterator[Stage]:
    yield shared_stage
    shared_stage.clear()


@dataclass(frozen=True, slots=True)
class Step:
    """A step that a worker is held at.

    `is_owed`, `is_written` and `is_certified` say what is true by then: the debt stands in the ledger, the completion
    in the table, the certificate event on the topic. `can_come_late`: what is held may still arrive; `comes_again`: the
    next attempt passes this step, too.
    """

    name: str
    hold: Callable[[Stage, Learner], Fault[Any]]
    is_owed: bool = True
    is_written: bool = True
    is_certified: bool = False
    can_come_late: bool = True
    comes_again: bool = True


STEPS = [
    Step(
        "before the aggregates are written",
        lambda stage, _: stage.cassandra.fault(HOLD, aggregate_write),
        is_owed=False,
        is_written=False,
    ),
    Step(
        "before the debt is recorded",
        lambda stage, _: stage.ledger.fault(HOLD, ledger_step("owe")),
        is_owed=False,
        is_written=False,
    ),
    Step(
        "before the enrolment is written",
        lambda stage, _: stage.cassandra.fault(HOLD, completion_write),
        is_written=False,
    ),
    Step(
        "before the write is answered",
        lambda stage, _: stage.cassandra.fault(KEEP, completion_write),
        can_come_late=False,
        comes_again=False,
    ),
    Step(
        "before the completion is read back",
        lambda stage, learner: stage.cassandra.fault(HOLD, stage.reads_back(learner)),
        can_come_late=False,
        comes_again=False,
    ),
    Step(
        "before Kafka has the certificate",
        lambda stage, _: stage.kafka.fault(HOLD, produce_to(stage.site.certificate_topic)),
    ),
    Step(
        "before Kafka confirms the certificate",
        lambda stage, _: stage.kafka.fault(KEEP, produce_to(stage.site.certificate_topic)),
        is_certified=True,
        can_come_late=False,
    ),
    Step(
        "between the certificate and the audit event",
        lambda stage, _: stage.kafka.fault(HOLD, produce_to(stage.site.audit_topic)),
        is_certified=True,
    ),
    Step(
        "before the request is settled",
        lambda stage, _: stage.ledger.fault(HOLD, ledger_step("settle")),
        is_certified=True,
    ),
]


def _each(steps: list[Step]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("step", steps, ids=[step.name for step in steps])


def _reach(stage: Stage, learner: Learner, step: Step, fault: Fault[Any], times: int) -> None:
    """Wait until the far worker is held at the step, and insist that what must come before it is done, and no more."""
    fault.wait(times, LIMIT)
    if step.is_certified:
        stage.wait_certified(learner, times)
    else:
        assert stage.site.announced(learner).certificates == []
    row = stage.row(learner)
    owed = stage.owed_on()
    assert (owed is not None) is step.is_owed
    assert (row["status"], row["completedon"]) == ((2, owed) if step.is_written else (1, None))


def _kill(stage: Stage, learner: Learner, step: Step, times: int = 1) -> Fault[Any]:
    """Kill the far worker at the step so many times; gives the trouble that still holds what it had on its way."""
    fault = step.hold(stage, learner)
    stage.site.send(learner)
    for time in range(1, times + 1):
        stage.far.start()
        _reach(stage, learner, step, fault, time)
        stage.far.kill()
    return fault


def _check_repeats(stage: Stage, learner: Learner, certificates: int) -> None:
    assert len(stage.site.announced(learner).certificates) == certificates


def _killed_and_gone_on(stage: Stage, step: Step, times: int) -> Learner:
    """Kill the far worker so often at a step, let the near one go on, and check that the learner is completed."""
    learner = stage.add_learner()
    _kill(stage, learner, step, times=times).forget()
    owed = stage.owed_on()

    stage.near.start()
    stage.wait_settled()

    stage.check_completed(learner, completed_on=owed)
    return learner


@_each(STEPS)
def test_a_worker_killed_at_a_step_leaves_all_to_the_next(stage: Stage, step: Step) -> None:
    learner = _killed_and_gone_on(stage, step, times=1)
    # what the killed worker had announced is announced again, under the same mid; nothing else is
    _check_repeats(stage, learner, 2 if step.is_certified else 1)


@_each([step for step in STEPS if step.comes_again])
def test_a_step_may_kill_twice(stage: Stage, step: Step) -> None:
    learner = _killed_and_gone_on(stage, step, times=2)
    _check_repeats(stage, learner, 3 if step.is_certified else 1)


@_each([step for step in STEPS if step.can_come_late])
def test_what_a_killed_worker_sent_may_arrive_when_all_is_done(stage: Stage, step: Step) -> None:
    learner = stage.add_learner()
    fault = _kill(stage, learner, step)
    stage.near.start()
    stage.wait_settled()
    before = stage.check_completed(learner)
    announced = stage.site.announced(learner)

    fault.end()
    wait_until("every write answered", lambda: len(stage.cassandra.answered) == len(stage.cassandra.passed), LIMIT)
    late = int(step.name == "before Kafka has the certificate"), int("audit" in step.name)
    stage.wait_certified(learner, len(announced.certificates) + late[0])
    wait_until(
        "the late audit event", lambda: len(stage.site.announced(learner).audits) == len(announced.audits) + late[1]
    )

    # a further click finds everything as it was, and announces nothing
    stage.site.sync(learner, limit=LIMIT)
    assert stage.check_completed(learner) == before
    _check_repeats(stage, learner, len(announced.certificates) + late[0])


def test_without_faults_everyone_is_announced_once_and_never_too_early(make_site: MakeSite) -> None:
    site = make_site(PATIENT)
    course = unique("do")
    learners = [new_learner(course) for _ in range(300)]
    site.relations.fill(course_of_units(course, {unique("unit"): {"a"}}))
    site.tables.add_consumption({learner: {"a": 2} for learner in learners})
    site.tables.add_enrolments(learners)
    site.start().send(*learners)
    seen: set[Learner] = set()

    def all_certified() -> bool:
        for learner in {certificate_learner(record) for record in site.certificates.records()} - seen:
            row = site.tables.enrolment(learner)
            assert row is not None
            assert row["status"] == 2
            assert row["completedon"] is not None
            seen.add(learner)
        return seen == set(learners)

    site.wait_for("a certificate for everyone", all_certified, LIMIT)
    site.wait_settled(LIMIT)
    assert (len(site.certificates.records()), len(site.audits.records())) == (300, 300)
    for learner in learners:
        check_announced_once(site, learner)


def _failures_wait(site: Site, waits: int) -> bool:
    """Say whether the one open request has a final failure recorded, and has waited so often since."""
    return all(site.entry_fields("failure")) and [it for _, it in site.spent() if it >= waits] != []


def _read_anew(site: Site, topic: str) -> list[Received]:
    """Read a topic over a connection of its own: a client that saw Kafka go may never find it again.

    (librdkafka, issue 5301.) A broker that has just come back refuses some questions for a moment.
    """

    found: list[list[Received]] = []

    def is_read() -> bool:
        with closing(TopicReader(site.ports.bootstrap, topic)) as reader:
            try:
                found.append(reader.records())
            except KafkaException:
                return False
        return True

    wait_until(f"Kafka tells what lies on {topic}", is_read, LIMIT)
    return found[-1]


@pytest.mark.parametrize(("harm", "heal"), [("stop", "resume"), ("kill", "start")], ids=["hangs", "is killed"])
def test_a_final_failure_outlives_kafka_its_worker_and_cassandra(
    make_site: MakeSite, stack: Stack, harm: str, heal: str
) -> None:
    site = make_site({**SETTINGS, "RETRY_ATTEMPTS": "1", "KAFKA_TIMEOUT": "2"}, workers=1)
    # a course whose leaf nodes are missing, and no search service that could say why
    learner = new_learner()
    site.tables.add_consumption({learner: {"a": 2}})
    site.tables.add_enrolments([learner])
    site.run(site.bridge).send(learner)
    site.wait_accepted(LIMIT)
    kafka, cassandra = stack.server("kafka"), stack.server("cassandra")

    getattr(kafka, harm)()
    try:
        site.worker.start()
        wait_until("the failure is recorded, and waits for Kafka", lambda: _failures_wait(site, 1), LIMIT)
        site.worker.kill()
        cassandra.kill()
        site.worker.start()
        wait_until("the next worker waits for Kafka, too", lambda: _failures_wait(site, 2), LIMIT)
    finally:
        getattr(kafka, heal)()
    try:
        wait_until("all settled", lambda: site.open_count() == 0, LIMIT)
        assert site.leftovers() == []
        events = [record.event for record in _read_anew(site, site.failed_topic)]
        assert _read_anew(site, site.certificate_topic) == []
    finally:
        cassandra.start()
        site.tables.wait_ready()

    assert {event["edata"]["userId"] for event in events} == {learner.user}
    assert {event["failInfo"]["errorCode"] for event in events} == {"RELATIONS_MISSING"}
    row = site.tables.enrolment(learner)
    assert row is not None
    assert row["status"] == 1
