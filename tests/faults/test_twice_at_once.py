"""The same task run by two workers at once: since it took longer than the visibility timeout, or than its lease."""

import re
from pathlib import Path

import pytest

from tests.faults.broker import queue_of
from tests.faults.conftest import MakeSite
from tests.faults.load import Load
from tests.faults.site import PATIENT, UP_LIMIT, Site
from tests.faults.slow_worker import STALLS, STEPS
from tests.support.processes import celery_worker

SLOW = celery_worker("tests.faults.slow_worker")
LEARNERS = 60


def _dropped(site: Site) -> int:
    """How many messages were found to be another's work."""
    return sum(len(re.findall(r"stale=[1-9]", process.output())) for process in site.workers)


def _attempted(site: Site) -> int:
    """How many requests the workers have brought to an end, as their logs tell; one attempted twice counts twice."""
    return sum(int(count) for process in site.workers for count in re.findall(r"done=(\d+)", process.output()))


def _settled(site: Site) -> float:
    """How many requests the workers that run have settled since their start; one that is not up yet has none."""
    return sum(max(site.work_done(process), 0) for process in site.workers if process.is_running)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("step", ["before it looks", "before the events"])
def test_a_task_longer_than_the_visibility_timeout_is_done_once(
    make_site: MakeSite, seed: int, tmp_path: Path, step: str
) -> None:
    # the lease is kept all the while, and no sweep sends anything anew: what comes again, Celery brings again
    waits = {"LEDGER_LEASE": "30", "LEDGER_SWEEP_AFTER": "600"}
    # a message comes again once: there must be several
    site = make_site({**waits, "BRIDGE_GROUP_SIZE": "10"}, workers=1)
    load = Load(seed, LEARNERS).prepare(site)
    requests, file = len(load.waiting), tmp_path / "stays"
    file.touch()
    settings = {"FAULT_STEP": step, "FAULT_FILE": str(file), "FAULT_VISIBILITY": "1"}
    slow = [site.add_worker(SLOW, settings) for _ in range(2)]
    load.send_all(site)
    site.run(site.bridge, *slow)
    site.wait_accepted(UP_LIMIT)
    site.wait_for("tasks that came a second time", lambda: _dropped(site) >= 2, UP_LIMIT)
    assert site.open_count() > 0
    file.unlink()
    site.wait_settled(180)

    verdict = load.verdict(site)
    verdict.check()
    assert verdict.repeated == ()
    site.wait_counted()
    assert _settled(site) == requests


@pytest.mark.timeout(600)
def test_a_message_that_comes_many_times_is_worked_on_once(make_site: MakeSite, seed: int) -> None:
    # each task's own line then tells what it has done, held or not
    site = make_site({**PATIENT, "LOG_REQUESTS": "false"})
    load = Load(seed, 400, clicks=1).prepare(site)
    queue = queue_of(site)
    load.send_all(site)
    site.run(site.bridge)
    site.wait_accepted(UP_LIMIT)
    # side by side, so that several threads of both workers hold copies of one message at the same time
    queue.replace([copy for message in queue.messages() for copy in [message] * 4])
    site.start().wait_settled(180)

    verdict = load.verdict(site)
    verdict.check()
    assert verdict.repeated == ()
    site.wait_counted()
    # the task's line comes last
    site.wait_for("their lines", lambda: _attempted(site) >= len(load.learners), UP_LIMIT)
    # of the copies, each but one was found to be another's work
    assert _settled(site) == _attempted(site) == len(load.learners)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("step", STEPS)
def test_a_worker_that_wakes_after_another_did_its_work_harms_nothing(
    make_site: MakeSite, seed: int, tmp_path: Path, step: str
) -> None:
    # a lease is as long as its claimer says: the slow worker's alone end soon
    site = make_site({**PATIENT, "BRIDGE_GROUP_SIZE": "10"}, workers=1)
    load = Load(seed, LEARNERS).prepare(site)
    file = tmp_path / "stays"
    file.touch()
    slow = site.add_worker(SLOW, {"FAULT_STEP": step, "FAULT_FILE": str(file), "LEDGER_LEASE": "4"})
    load.send_all(site)
    site.run(site.bridge, slow)
    site.wait_for("attempts held up", lambda: slow.output().count(STALLS) >= 2, UP_LIMIT)
    # its leases lapse: it is taken for dead, and the other does all of its work
    slow.freeze()
    site.run(site.worker)
    site.wait_settled(180)
    load.observe(site)
    held_up = queue_of(site).unacknowledged()
    assert held_up > 0
    file.unlink()
    slow.thaw()
    site.wait_for("the late attempts over", lambda: queue_of(site).unacknowledged() == 0, UP_LIMIT)
    site.wait_settled(180)

    verdict = load.verdict(site)
    verdict.check()
    if step in ("before it looks", "before the debts"):
        # whoever asks for the debt too late writes and announces nothing
        assert verdict.repeated == ()
