"""completedon from the consumption lies in the past: a completion is announced all the same, whatever dies meanwhile.

See docs/courtesies.md.
"""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from devstack.ports import Ports
from tests.conftest import MakeEnvironment, MakeKeyspace
from tests.faults.servers import forget
from tests.faults.stage import CONTENTS, LIMIT, Stage
from tests.faults.test_certificates import STEPS, Step
from tests.faults.test_servers import WENT_BACK
from tests.support.kafka_proxy import produce_to
from tests.support.redis_proxy import Command, ledger_step
from tests.support.relay import Treatment
from tests.support.tables import Learner

#: Long before any request of these tests, and longer ago than anything is remembered.
DONE_MS = 1_600_000_000_000
ON = {"ENROLMENT_COMPLETEDON_FROM_CONSUMPTION": "true"}


@pytest.fixture(scope="module")
def dated_stage(
    ports: Ports, make_environment: MakeEnvironment, shared_keyspace: MakeKeyspace, logs: Path
) -> Iterator[Stage]:
    with Stage.opened(ports, make_environment, shared_keyspace, logs, ON) as made:
        yield made


@pytest.fixture
def stage(dated_stage: Stage) -> Iterator[Stage]:
    yield dated_stage
    dated_stage.clear()


def add_learner(stage: Stage) -> Learner:
    """Make a learner who was done at `DONE_MS`; not asked for yet."""
    learner = stage.add_learner()
    stage.site.tables.add_completed(learner, dict.fromkeys(CONTENTS, (DONE_MS, None)))
    return learner


@pytest.mark.parametrize("step", STEPS, ids=[step.name for step in STEPS])
def test_a_worker_killed_at_a_step_leaves_all_to_the_next(stage: Stage, step: Step) -> None:
    learner = add_learner(stage)
    fault = step.hold(stage, learner)
    stage.site.send(learner)
    stage.far.start()
    fault.wait(1, LIMIT)
    assert stage.owed_on() == (DONE_MS if step.is_owed else None)
    stage.far.kill()
    fault.forget()

    stage.near.start()
    stage.wait_settled()

    stage.check_completed(learner, completed_on=DONE_MS)
    assert len(stage.site.announced(learner).certificates) == (2 if step.is_certified else 1)


def test_redis_forgets_between_a_completion_and_its_events(stage: Stage) -> None:
    learner = add_learner(stage)
    is_certificate, is_audit = (produce_to(it) for it in (stage.site.certificate_topic, stage.site.audit_topic))
    held = stage.kafka.fault(Treatment.HOLD_REQUEST, lambda asked: is_certificate(asked) or is_audit(asked))
    stage.site.send(learner)
    stage.far.start()
    held.wait(1, LIMIT)
    assert (stage.row(learner)["status"], stage.row(learner)["completedon"]) == (2, DONE_MS)
    stage.far.kill()
    held.forget()
    went_back = stage.site.bridge.output().count(WENT_BACK)
    forget(stage.site)
    stage.site.wait_for("the bridge goes back", lambda: stage.site.bridge.output().count(WENT_BACK) > went_back, LIMIT)

    stage.near.start()
    stage.wait_settled()

    stage.check_completed_once(learner)
    assert stage.row(learner)["completedon"] == DONE_MS


def test_everything_is_read_again_and_what_was_announced_is_not_announced_twice(stage: Stage) -> None:
    learner = add_learner(stage)
    stage.near.start()
    stage.site.sync(learner, limit=LIMIT)
    taken = stage.site.metrics("bridge")["total_events_count_total"]

    stage.site.operate("rewind", "--since", "1h", "--yes")

    stage.site.wait_for(
        "all is read again", lambda: stage.site.metrics("bridge")["total_events_count_total"] > taken, LIMIT
    )
    stage.wait_settled()
    stage.check_completed_once(learner)


def _second(matches: Callable[[Command], bool]) -> Callable[[Command], bool]:
    """Match every request of a kind but the first."""
    seen = count()
    return lambda command: matches(command) and next(seen) > 0


def test_a_completion_set_back_survives_the_death_of_the_worker_that_writes_it_anew(stage: Stage) -> None:
    learner = add_learner(stage)
    stage.near.start()
    stage.site.sync(learner, limit=LIMIT)
    stage.near.kill()
    stage.site.tables.add_enrolments([learner], completedon=None)
    # the first of the two names under which it is owed was paid; it dies with the second one on its way
    held = stage.ledger.fault(Treatment.HOLD_REQUEST, _second(ledger_step("owe")))
    stage.site.send(learner)
    stage.far.start()
    held.wait(1, LIMIT)
    assert stage.owed_on() == DONE_MS
    stage.far.kill()
    held.forget()
    written = stage.kafka.fault(Treatment.HOLD_REQUEST, produce_to(stage.site.certificate_topic))
    stage.far.start()
    written.wait(1, LIMIT)
    owed = stage.owed_on()
    assert owed is not None
    assert owed > DONE_MS
    assert stage.row(learner)["completedon"] == owed
    stage.far.kill()
    written.forget()

    stage.near.start()
    stage.wait_settled()

    certificates = [record.event["mid"] for record in stage.site.announced(learner).certificates]
    assert [mid.split(".")[1] for mid in certificates] == [str(DONE_MS), str(owed)]
    assert stage.row(learner)["completedon"] == owed


def test_what_a_frozen_worker_announced_after_our_look_was_not_set_back(stage: Stage) -> None:
    learner = add_learner(stage)
    stage.overtake_a_frozen_completion(learner, clicks=1)
    assert stage.check_completed_once(learner)["completedon"] == DONE_MS
