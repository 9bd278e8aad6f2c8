"""A worker that dies in the middle of a group of the default size, at each step, with the next worker after it."""

import signal

import pytest

from reconciliation.settings import load_settings
from tests.faults.conftest import MakeSite
from tests.faults.dying_worker import STEPS
from tests.faults.load import Load
from tests.faults.site import UP_LIMIT
from tests.support.processes import celery_worker

REQUESTS_OF_A_STEP = 120
DYING = celery_worker("tests.faults.dying_worker")


@pytest.mark.timeout(900)
def test_a_group_that_dies_halfway_is_finished_by_others(make_site: MakeSite, seed: int) -> None:
    # one thread: nothing but the group is in the worker's hands when it dies
    site = make_site({"WORKER_THREADS": "1"}, workers=1)
    load = Load(seed, REQUESTS_OF_A_STEP * len(STEPS), clicks=1).prepare(site)
    site.run(site.bridge)
    for step in STEPS:
        load.send_some(site, REQUESTS_OF_A_STEP)
        site.wait_accepted(UP_LIMIT)
        dying = site.add_worker(DYING, {"FAULT_STEP": step})
        dying.start()
        assert dying.wait() == -signal.SIGKILL, step
        dying.kill()  # it may have ended, and has
        load.observe(site)
    assert site.open_count() > 0
    site.run(site.worker)
    site.wait_settled(180)

    verdict = load.verdict(site)
    verdict.check()
    # the events of the groups that died after Kafka had them, and before the ledger knew
    assert 0 < sum(count for _, count in verdict.repeated) <= load_settings({}).group_size * len(STEPS)
