"""A backlog that is older than all its due times: it is worked off once, and multiplies nothing."""

import math
import time

import pytest

from tests.faults.broker import queue_of, ticket_count
from tests.faults.conftest import MakeSite
from tests.faults.load import Load
from tests.faults.site import UP_LIMIT, Site

LEARNERS = 300
FIRST_WAIT = 0.5
SETTINGS = {"LEDGER_SWEEP_AFTER": str(FIRST_WAIT), "LEDGER_SWEEP_MAX_WAIT": "3600", "LEDGER_LEASE": "20"}


def _overdue(site: Site) -> int:
    """How many entries wait for a sweep that nobody makes."""
    seconds, microseconds = site.redis.time()
    now_ms = seconds * 1000 + microseconds // 1000
    return int(site.redis.zcount(_ledger(site) + "due", "-inf", now_ms))


def _sendings(site: Site) -> list[int]:
    """How often each open entry was sent; nobody has claimed one."""
    keys = list(site.redis.scan_iter(_ledger(site) + "entry:*", count=1000))
    return [int(site.redis.hget(key, "sweeps")) for key in keys]


def _ledger(site: Site) -> str:
    return f"enrolment-reconciliation:{{{site.group_id}}}:"


@pytest.mark.timeout(600)
def test_a_backlog_older_than_every_due_time_is_no_storm(make_site: MakeSite, seed: int) -> None:
    site = make_site(SETTINGS)
    load = Load(seed, LEARNERS, clicks=1).prepare(site)
    queue, began = queue_of(site), time.monotonic()
    load.send_some(site, LEARNERS // 2)
    site.run(site.bridge)
    site.wait_accepted(UP_LIMIT)
    site.stop(site.bridge)
    # nothing runs, for longer than every wait that was set; and Kafka fills up meanwhile
    load.send_all(site)
    site.wait_for("everything overdue", lambda: _overdue(site) == LEARNERS // 2, UP_LIMIT)

    site.run(site.bridge)
    site.wait_accepted(UP_LIMIT)
    site.wait_for("all swept three times", lambda: min(_sendings(site)) >= 4, UP_LIMIT)
    site.stop(site.bridge)
    # the waits double, so that what nobody claims is sent rarely
    most = 2 + math.log2((time.monotonic() - began) / FIRST_WAIT)
    sendings = _sendings(site)
    assert len(sendings) == LEARNERS
    assert max(sendings) <= most
    assert sum(map(ticket_count, queue.messages())) == sum(sendings)

    site.wait_for("everything overdue again", lambda: _overdue(site) == LEARNERS, UP_LIMIT)
    site.start().wait_settled(180)
    site.wait_for("the queue is empty", lambda: len(queue) == queue.unacknowledged() == 0, UP_LIMIT)
    verdict = load.verdict(site)
    verdict.check()
    assert verdict.repeated == ()
    # one that is not up yet tells nothing
    site.wait_ready()
    assert sum(site.work_done(worker) for worker in site.workers) == LEARNERS
    assert verdict.certificates == len(site.certificates.records()) == len(site.audits.records())
