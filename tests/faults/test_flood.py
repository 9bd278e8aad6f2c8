"""A flood of clicks while no worker runs: Redis holds no more than its bound, and Kafka keeps the rest.

FAULT_LEARNERS and FAULT_CLICKS say how large it is; 10,000 and 100 are the full figures.
"""

import os

import pytest

from tests.faults.broker import queue_of
from tests.faults.conftest import MakeSite
from tests.faults.load import Load
from tests.faults.site import PATIENT, UP_LIMIT, Site

LEARNERS = int(os.environ.get("FAULT_LEARNERS") or 100)
CLICKS = int(os.environ.get("FAULT_CLICKS") or 120)
BOUND = 5_000
REQUESTS_A_SECOND = 100

#: What an open request may take in Redis, with its place in every list, and what Redis may take for itself.
BYTES_OF_A_REQUEST = 4_096
BYTES_OF_REDIS = 8 * 2**20


def _memory(site: Site) -> int:
    return int(site.redis.info("memory")["used_memory"])


def _entries(site: Site) -> int:
    return sum(1 for name in site.leftovers() if name.startswith("entry:"))


@pytest.mark.timeout(900 + LEARNERS * CLICKS // REQUESTS_A_SECOND)
def test_a_flood_is_held_by_kafka_and_not_by_redis(make_site: MakeSite, seed: int) -> None:
    settings = {"LEDGER_MAX_OPEN": str(BOUND), "WORKER_THREADS": "4", "BRIDGE_POLL_RECORDS": "250"}
    site = make_site({**PATIENT, **settings})
    load = Load(seed, LEARNERS, courses=10, clicks=1).prepare(site)
    load.waiting *= CLICKS
    queue, total, before = queue_of(site), len(load.waiting), _memory(site)
    assert total > 2 * BOUND
    site.run(site.bridge)
    load.send_some(site, total // 2)
    site.wait_for("the bridge paused", lambda: "the ledger is full" in site.bridge.output(), UP_LIMIT)
    paused = _memory(site)
    assert site.open_count() == BOUND
    assert _entries(site) <= min(LEARNERS, BOUND)
    assert paused - before < BOUND * BYTES_OF_A_REQUEST + BYTES_OF_REDIS

    # the more comes, the more lies in Kafka; sweeps go on meanwhile
    load.send_all(site)
    messages = len(queue)
    site.wait_for("another sweep", lambda: len(queue) > messages, 60)
    assert sum(site.behind().values()) == total - BOUND
    assert site.open_count() == BOUND
    assert _memory(site) - before < BOUND * BYTES_OF_A_REQUEST + BYTES_OF_REDIS

    site.start().wait_settled(300 + total / REQUESTS_A_SECOND)
    verdict = load.verdict(site)
    verdict.check()
    assert verdict.repeated == ()
    output = site.bridge.output()
    assert output.count("partitions assigned") == 1
    assert "partitions revoked" not in output
    assert "partitions lost" not in output
    assert site.restarts.total() == 0
