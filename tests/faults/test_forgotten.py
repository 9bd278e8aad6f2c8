"""A learner who is forgotten in the middle of the work: their requests end, everybody else's go on."""

from pathlib import Path

from tests.faults.conftest import MakeSite
from tests.faults.poisonous import innocents_and
from tests.faults.site import PATIENT
from tests.faults.slow_worker import STALLS
from tests.support.installation import new_learner
from tests.support.processes import celery_worker
from tests.support.tables import Learner

LIMIT = 120.0
SLOW = celery_worker("tests.faults.slow_worker")


def test_learners_in_every_state_are_forgotten_under_load(make_site: MakeSite, tmp_path: Path) -> None:
    site = make_site(
        {
            **PATIENT,
            "BRIDGE_GROUP_SIZE": "1",
            "WORKER_THREADS": "2",
            # a second try is far away
            "RETRY_BACKOFF_FIRST": "600",
            "RETRY_BACKOFF_MOST": "600",
            # what waits for another's attempt is tried again soon
            "LEDGER_SWEEP_AFTER": "1",
        },
        workers=1,
    )
    file = tmp_path / "stays"
    slow = site.add_worker(SLOW, {"FAULT_STEP": "before it looks", "FAULT_FILE": str(file)})
    others, _ = innocents_and(site, [], innocents=60)
    running, waiting, bystander = innocents_and(site, [], innocents=3)[0]
    retrying = new_learner()
    site.tables.add_consumption({retrying: {"a": 2}})
    site.tables.add_enrolments([retrying])

    site.run(site.bridge, slow)
    # an attempt that does not reach Cassandra yet waits, and spends no try
    site.wait_ready()
    site.send(retrying)
    site.wait_for("its next try is awaited", lambda: site.spent() == [(1, 0)] and site.claimed_count() == 0, LIMIT)
    file.touch()
    site.send(running)
    site.wait_for("an attempt runs", lambda: STALLS in slow.output(), LIMIT)
    # another click of the same learner waits for that attempt
    site.send(running)
    site.wait_for("it waits", lambda: site.entry_fields("blocked").count("1") == 1, LIMIT)
    site.send(bystander)
    site.wait_for("both threads are busy", lambda: site.claimed_count() == 2, LIMIT)
    site.send(waiting)
    site.send(waiting, retrying)
    site.send(*others)
    site.wait_accepted()
    open_before = site.open_count()
    assert open_before == 67

    told = [site.operate("forget", "--user", learner.user, "--yes") for learner in (running, waiting, retrying)]
    assert ["ended: 2 requests" in one for one in told] == [True] * 3
    assert ["an attempt ran" in one for one in told] == [True, False, False]
    assert site.open_count() == open_before - 6
    file.unlink()
    # what is left ends, the ledger is empty, and offsets are committed past everything
    site.wait_settled(LIMIT)

    users = [record.event["edata"]["userIds"][0] for record in site.certificates.records()]
    assert sorted(users) == sorted(learner.user for learner in [*others, bystander])
    assert site.failed.records() == []
    rows = site.tables.enrolments([running, waiting, retrying])
    assert {rows[learner]["status"] for learner in (running, waiting, retrying)} == {1}
    assert site.restarts.total() == 0
    assert "Traceback" not in slow.output()
    # a new click is a new request
    site.send(waiting)
    site.wait_settled(LIMIT)
    assert len(site.announced(waiting).certificates) == 1


def _forgotten_while(make_site: MakeSite, tmp_path: Path, step: str) -> tuple[int, int]:
    """Forget a learner while an attempt stays in a step; gives the status that is left, and how many certificates."""
    site = make_site({**PATIENT, "BRIDGE_GROUP_SIZE": "1"}, workers=1)
    file = tmp_path / "stays"
    file.touch()
    slow = site.add_worker(SLOW, {"FAULT_STEP": step, "FAULT_FILE": str(file)})
    learners, _ = innocents_and(site, [], innocents=2)
    learner: Learner = learners[0]
    site.run(site.bridge, slow)
    site.send(learner)
    site.wait_for("it stays", lambda: STALLS in slow.output(), LIMIT)
    site.operate("forget", "--user", learner.user, "--yes")
    assert site.open_count() == 0
    file.unlink()
    site.send(learners[1])
    site.wait_settled(LIMIT)
    site.stop(slow)
    row = site.tables.enrolment(learner)
    assert row is not None
    status = row["status"]
    assert isinstance(status, int)
    return status, len(site.announced(learner).certificates)


def test_an_attempt_that_has_not_recorded_its_completion_writes_none(make_site: MakeSite, tmp_path: Path) -> None:
    assert _forgotten_while(make_site, tmp_path, "before the debts") == (1, 0)


def test_an_attempt_that_has_recorded_its_completion_ends_it(make_site: MakeSite, tmp_path: Path) -> None:
    assert _forgotten_while(make_site, tmp_path, "before the enrolments") == (2, 1)
