"""A busy worker that is reached by Ctrl-C, SIGQUIT or SIGHUP; test_shutdown has SIGTERM."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.faults.conftest import MakeSite
from tests.faults.stage import LIMIT, SETTINGS, Stage
from tests.support.cassandra_proxy import Request, aggregate_write
from tests.support.processes import CELERY, WORKER
from tests.support.relay import Fault, Treatment
from tests.support.tables import Learner
from tests.support.waiting import wait_until

READY = "the worker is ready"

#: No attempt that lives loses its claim on a machine that is slow for some seconds.
UNHURRIED = {**SETTINGS, "LEDGER_LEASE": "15"}


@pytest.fixture
def stage(make_site: MakeSite) -> Iterator[Stage]:
    with Stage(make_site(UNHURRIED, workers=1)) as made:
        yield made


def busy(stage: Stage) -> tuple[Learner, Fault[Request]]:
    """Have the far worker in the middle of an attempt, which Cassandra does not answer until the fault ends."""
    learner = stage.add_learner()
    aggregates = stage.cassandra.fault(Treatment.HOLD_REQUEST, aggregate_write)
    before = stage.far.output().count(READY)
    stage.site.send(learner)
    stage.far.start()
    aggregates.wait(1, LIMIT)
    # it may take a request a moment before it takes signals
    wait_until("the worker is ready", lambda: stage.far.output().count(READY) > before, LIMIT)
    return learner, aggregates


def test_ctrl_c_lets_an_attempt_end_and_the_second_one_does_not(stage: Stage) -> None:
    learner, aggregates = busy(stage)
    os.kill(stage.far.pid, signal.SIGINT)
    wait_until("it has heard", lambda: "Ctrl-C again" in stage.far.output(), LIMIT)
    aggregates.end()
    assert stage.far.wait() == 0
    assert "outcome=done" in stage.far.output()
    stage.wait_settled()
    stage.check_completed_once(learner)

    learner, aggregates = busy(stage)
    for heard in ("Ctrl-C again", "ended at once"):
        before = stage.far.output().count(heard)
        os.kill(stage.far.pid, signal.SIGINT)
        wait_until(f"it says '{heard}'", lambda heard=heard, before=before: stage.far.output().count(heard) > before)
    assert stage.far.wait() == 1
    check_goes_on(stage, learner, aggregates)


def test_sigquit_ends_a_worker_at_once(stage: Stage) -> None:
    learner, aggregates = busy(stage)
    os.kill(stage.far.pid, signal.SIGQUIT)
    assert stage.far.wait() == 1
    check_goes_on(stage, learner, aggregates)


def check_goes_on(stage: Stage, learner: Learner, aggregates: Fault[Request]) -> None:
    """Insist that what the far worker left is done once it runs again."""
    aggregates.forget()
    stage.far.start()
    stage.wait_settled()
    stage.check_completed_once(learner)


def test_sigterm_overrules_sighup(stage: Stage) -> None:
    learner, aggregates = busy(stage)
    os.kill(stage.far.pid, signal.SIGHUP)
    wait_until("it has heard", lambda: "Restarting" in stage.far.output(), LIMIT)
    stage.far.ask_to_end()
    wait_until("it has heard that too", lambda: "Warm shutdown" in stage.far.output(), LIMIT)
    aggregates.end()
    assert stage.far.wait() == 0
    stage.wait_settled()
    stage.check_completed_once(learner)


@pytest.mark.parametrize("command", [WORKER, (*CELERY, "worker")], ids=["lean", "celery's"])
def test_sighup_starts_a_worker_anew_after_its_attempt(make_site: MakeSite, command: tuple[str, ...]) -> None:
    with Stage(make_site(UNHURRIED, workers=1), command) as stage:
        learner, aggregates = busy(stage)
        os.kill(stage.far.pid, signal.SIGHUP)
        wait_until("it has heard", lambda: "Restarting" in stage.far.output(), LIMIT)
        aggregates.end()
        stage.site.wait_for("it is there again", lambda: stage.far.output().count(READY) == 2, LIMIT)
        stage.wait_settled()
        stage.check_completed_once(learner)
        learner = stage.add_learner()
        stage.site.send(learner)
        stage.wait_settled()
        stage.check_completed_once(learner)
