"""Tasks that an operator revokes, with Celery's own command, while they wait and while they run."""

from pathlib import Path

import pytest

from tests.faults.conftest import MakeSite
from tests.faults.poisonous import POISON, innocents_and
from tests.faults.site import PATIENT, Site
from tests.support.broker import operator
from tests.support.kafka import Sent
from tests.support.waiting import wait_until

LIMIT = 90.0
#: One task a request, whenever it is sent; and no lease ends while a task is held.
SETTINGS = {**PATIENT, "PYTHONPATH": POISON, "WORKER_THREADS": "1", "BRIDGE_GROUP_SIZE": "1"}


@pytest.fixture
def hold(tmp_path: Path) -> Path:
    """Tasks of learners whose id says so wait as long as this file is there."""
    file = tmp_path / "hold"
    file.touch()
    return file


def revoke(site: Site, sent: Sent) -> None:
    """Revoke a single request's task and wait until the worker has heard of it."""
    with operator(site.settings, site.group_id) as app:
        answers = app.control.revoke(site.entry_id(sent), reply=True, limit=1, timeout=20, destination=None)
    assert answers


def test_a_waiting_task_that_is_revoked_ends_on_the_failed_topic(make_site: MakeSite, hold: Path) -> None:
    site = make_site({**SETTINGS, "POISON_WAITS_FOR": str(hold)}, workers=1)
    innocent, busy = innocents_and(site, ["waits"], innocents=2)
    site.start()
    site.send(*busy)
    wait_until("the worker is busy", lambda: site.claimed_count() == 1, LIMIT)
    (first,) = site.send(innocent[0])
    wait_until("it waits", lambda: site.open_count() == 2)
    revoke(site, first)
    site.send(innocent[1])
    hold.unlink()
    site.wait_settled(LIMIT)

    (failed,) = site.failures(innocent[0])
    assert failed["failInfo"]["errorCode"] == "REVOKED"
    assert len(site.failed.records()) == 1
    rows = site.tables.enrolments([*innocent, *busy])
    assert [rows[learner]["status"] for learner in (innocent[0], innocent[1], *busy)] == [1, 2, 2]


def test_a_running_task_that_is_revoked_ends_well(make_site: MakeSite, hold: Path) -> None:
    site = make_site({**SETTINGS, "POISON_WAITS_FOR": str(hold)}, workers=1)
    _, busy = innocents_and(site, ["waits"], innocents=0)
    site.start()
    (sent,) = site.send(*busy)
    wait_until("it runs", lambda: site.claimed_count() == 1, LIMIT)
    revoke(site, sent)
    hold.unlink()
    site.wait_settled(LIMIT)

    assert site.failed.records() == []
    assert len(site.announced(busy[0]).certificates) == 1


def test_a_revoked_request_whose_completion_is_owed_is_announced(make_site: MakeSite, hold: Path) -> None:
    site = make_site({**SETTINGS, "POISON_WAITS_FOR": str(hold)}, workers=1)
    innocent, busy = innocents_and(site, ["waits"], innocents=1)
    # somebody's completion that an attempt wrote before it died, and did not announce
    site.tables.add_enrolments(innocent, status=2, completedon=1_700_000_000_000)
    site.start()
    site.send(*busy)
    wait_until("the worker is busy", lambda: site.claimed_count() == 1, LIMIT)
    (sent,) = site.send(*innocent)
    wait_until("it waits", lambda: site.open_count() == 2)
    site.owe(sent, 1_700_000_000_000)
    revoke(site, sent)
    hold.unlink()
    site.wait_settled(LIMIT)

    assert site.failed.records() == []
    (certificate,) = site.announced(innocent[0]).certificates
    assert certificate.event["mid"].startswith("LP.1700000000000.")
