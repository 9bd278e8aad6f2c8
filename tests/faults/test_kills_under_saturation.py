"""Workers and bridges killed again and again, at random, while there is always more to do than can be done.

FAULT_KILLS says how often; 40 is the full figure.
"""

import os
from random import Random

import pytest

from tests.faults.conftest import MakeSite
from tests.faults.load import Load

KILLS = int(os.environ.get("FAULT_KILLS") or 10)
LEARNERS_OF_A_KILL = 150
BACKLOG = 2_000


@pytest.mark.timeout(300 + 60 * KILLS)
@pytest.mark.parametrize("bridges", [1, 2], ids=["one bridge", "two bridges"])
def test_nothing_is_lost_however_often_processes_are_killed(make_site: MakeSite, seed: int, bridges: int) -> None:
    site = make_site({"WORKER_THREADS": "4"}, bridges=bridges)
    load = Load(seed, LEARNERS_OF_A_KILL * KILLS).prepare(site)
    random = Random(seed)
    site.start()
    with load.keep_busy(site, BACKLOG):
        for _ in range(KILLS):
            site.kill_at_random(random, 1)
            load.observe(site)
    site.wait_settled(180)

    verdict = load.verdict(site)
    verdict.check()
    assert site.kills.total() == KILLS
    assert site.restarts.total() == 0
