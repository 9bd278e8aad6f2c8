"""A bridge that dies between any two of its steps, with workers that go on and a bridge that takes over.

tests/integration/bridge holds the ledger and the broker's queue against the same deaths, without workers.
"""

import signal
import sys

import pytest

from tests.faults.conftest import MakeSite
from tests.faults.load import Load
from tests.faults.site import PATIENT, UP_LIMIT
from tests.integration.bridge.dying import STEPS
from tests.support.waiting import wait_until

REQUESTS_OF_A_STEP = 150
DYING = (sys.executable, "-m", "tests.integration.bridge.dying")
IN_A_REVOKE = "in a revoke"


@pytest.mark.timeout(900)
def test_a_bridge_that_dies_between_its_steps_loses_nothing(make_site: MakeSite, seed: int) -> None:
    site = make_site(PATIENT, workers=1)
    load = Load(seed, REQUESTS_OF_A_STEP * len(STEPS), clicks=1).prepare(site)
    site.run(site.worker)
    # one after the other in the same group: each finds what those before it left
    for step in STEPS:
        if step == IN_A_REVOKE:
            continue
        load.send_some(site, REQUESTS_OF_A_STEP)
        site.send_records([(None, f"garbage {step}".encode())])
        dying = site.add_bridge([*DYING, step])
        dying.start()
        assert dying.wait() == -signal.SIGKILL, step
        dying.kill()  # it may have ended, and has
    site.run(site.bridge)
    site.wait_settled(180)
    load.send_all(site)
    site.wait_settled(180)

    verdict = load.verdict(site)
    verdict.check()
    assert verdict.repeated == (), "nobody interrupted the worker"
    garbage = {record.event["failInfo"]["event"] for record in site.failed.records()}
    assert garbage == {f"garbage {step}" for step in STEPS if step != IN_A_REVOKE}


@pytest.mark.timeout(600)
def test_a_bridge_that_dies_while_it_hands_partitions_over_loses_nothing(make_site: MakeSite, seed: int) -> None:
    site = make_site({**PATIENT, "BRIDGE_POLL_RECORDS": "20"}, workers=1)
    load = Load(seed, 1_500, clicks=1).prepare(site)
    dying = site.add_bridge([*DYING, IN_A_REVOKE])
    dying.start()
    site.run(site.worker)
    with load.keep_busy(site, 1_000):
        site.wait_for("the dying bridge at work", lambda: site.work_done(dying) >= 20, UP_LIMIT)
        # its coming takes a partition from the other, which dies over it
        site.run(site.bridge)
        wait_until("the death in the handover", lambda: dying.exit_code == -signal.SIGKILL, UP_LIMIT)
        dying.kill()  # it may have ended, and has
        site.wait_working(site.bridge, 100)
    site.wait_settled(180)

    verdict = load.verdict(site)
    verdict.check()
    assert verdict.repeated == (), "nobody interrupted the worker"
