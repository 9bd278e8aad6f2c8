"""Busy processes that are told to end, killed before they have, or kept from it by a server that hangs."""

from random import Random

import pytest

from devstack.stack import Stack
from tests.faults.conftest import MakeSite
from tests.faults.load import Load
from tests.faults.poisonous import innocents_and
from tests.faults.site import PATIENT, UP_LIMIT, Site
from tests.support.processes import Process
from tests.support.waiting import wait_until

#: What a process says when it has heard SIGTERM.
BRIDGE_HEARD = "stopping after what is in hand"
WORKER_HEARD = "Warm shutdown"


def _heard(site: Site, process: Process) -> int:
    return process.output().count(BRIDGE_HEARD if process in site.bridges else WORKER_HEARD)


def _end_and_kill(site: Site, process: Process) -> None:
    """Tell a process to end, and kill it as soon as it has heard."""
    before = _heard(site, process)
    site.dismiss(process)
    process.ask_to_end()
    wait_until(f"the {process.name} has heard SIGTERM", lambda: _heard(site, process) > before)
    process.kill()


@pytest.mark.timeout(900)
def test_killed_in_the_middle_of_an_orderly_end_nothing_is_lost(make_site: MakeSite, seed: int) -> None:
    site = make_site({"WORKER_THREADS": "4"}, bridges=2)
    load = Load(seed, 1_000).prepare(site)
    random = Random(seed)
    site.start()
    hurt = list(site.processes) * 2
    random.shuffle(hurt)
    with load.keep_busy(site, 1_000):
        for process in hurt:
            site.wait_working(process, random.randint(1, 50))
            _end_and_kill(site, process)
            load.observe(site)
            site.run(process)
    site.wait_settled(180)
    load.verdict(site).check()


@pytest.mark.timeout(900)
def test_busy_processes_that_end_in_order_repeat_nothing(make_site: MakeSite, seed: int) -> None:
    site = make_site({**PATIENT, "WORKER_THREADS": "4"}, bridges=2)
    load = Load(seed, 1_000).prepare(site)
    random = Random(seed)
    site.start()
    with load.keep_busy(site, 1_000):
        for process in site.processes:
            site.wait_working(process, random.randint(1, 50))
            site.stop(process)
            site.run(process)
    site.wait_settled(180)

    verdict = load.verdict(site)
    verdict.check()
    assert verdict.repeated == ()
    assert site.restarts.total() == 0


def test_a_worker_ends_in_time_though_redis_hangs(make_site: MakeSite, stack: Stack) -> None:
    site = make_site({"WORKER_SHUTDOWN_LIMIT": "3"}, workers=1)
    (learner,), _ = innocents_and(site, [], innocents=1)
    site.start().sync(learner, limit=UP_LIMIT)
    redis = stack.server("redis")
    site.dismiss(site.worker)
    redis.stop()
    try:
        site.worker.ask_to_end()
        assert site.worker.wait(30) == 0
    finally:
        redis.resume()
    assert "did not end in time" in site.worker.output()
    site.run(site.worker)
    site.sync(learner, limit=UP_LIMIT)
