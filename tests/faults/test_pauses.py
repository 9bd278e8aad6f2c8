"""What operators pause stands still and loses nothing, whatever is killed meanwhile."""

from pathlib import Path

from commands.servers import open_operations
from ledger.pauses import EVERYTHING
from reconciliation.settings import load_settings
from tests.faults.broker import queue_of
from tests.faults.conftest import MakeSite
from tests.faults.load import Load
from tests.faults.poisonous import innocents_and
from tests.faults.servers import keep
from tests.faults.site import PATIENT, Site
from tests.faults.slow_worker import STALLS
from tests.support.installation import unique
from tests.support.processes import celery_worker

LIMIT = 120.0
HOLDS = "an operator paused it or drains"
#: Longer than the leases and the first sweeps of a site.
STILL_SECONDS = 6.0

SLOW = celery_worker("tests.faults.slow_worker")

#: Much stands open at every moment.
BUSY = {"BRIDGE_GROUP_SIZE": "5", "BRIDGE_POLL_RECORDS": "50", "WORKER_THREADS": "2"}


def _state(site: Site) -> list[tuple[str | None, ...]]:
    """Give of each open entry what an attempt or a message would change."""
    names = ("generation", "sweeps", "attempts", "waits", "crashes", "shelf")
    return sorted(zip(*(site.entry_fields(name) for name in names), strict=True), key=repr)


def _pause_everything(site: Site, reason: str) -> None:
    """Pause at once: the command takes so long to begin that everything may be settled before it does."""
    with open_operations(load_settings(site.settings)) as operations:
        operations.pause([EVERYTHING], reason)


def _wait_still(site: Site) -> None:
    site.wait_for("bridges hold", lambda: all(HOLDS in bridge.output() for bridge in site.bridges), LIMIT)
    site.wait_for(
        "what is open waits for the pause's end",
        lambda: site.claimed_count() == 0 and None not in site.entry_fields("shelf") and len(queue_of(site)) == 0,
        LIMIT,
    )


def test_everything_stands_still_under_load_and_goes_on(make_site: MakeSite, seed: int) -> None:
    site = make_site({**PATIENT, **BUSY}, workers=2, bridges=2)
    # so many that some are left when the pause comes
    load = Load(seed, 1_200).prepare(site)
    site.start()
    # a bridge that joins during the pause would take partitions from the other one
    site.wait_shared_out()
    load.send_some(site, len(load.waiting) * 3 // 4)
    site.wait_for("some work is done", lambda: len(site.certificates.records()) >= 20, LIMIT)
    _pause_everything(site, "an upgrade")
    _wait_still(site)
    rows, state, lag = site.tables.enrolments(load.learners), _state(site), sum(site.behind().values())
    told = len(site.certificates.records())
    assert state
    more = len(load.waiting)
    load.send_all(site)
    keep(site, STILL_SECONDS)
    assert sum(site.behind().values()) == lag + more
    assert site.tables.enrolments(load.learners) == rows
    assert _state(site) == state
    assert (len(site.certificates.records()), len(queue_of(site))) == (told, 0)
    assert "an upgrade" in site.bridge.output()
    assert site.metrics("bridge")["bridge_paused"] == 1
    assert "resumed" in site.operate("resume")
    site.wait_settled(LIMIT)
    verdict = load.verdict(site)
    verdict.check()
    assert verdict.repeated == ()
    for bridge in site.bridges:
        output = bridge.output()
        paused = output[output.index(HOLDS) :]
        assert "partitions revoked" not in paused.partition("stopping after")[0]
        assert "partitions lost" not in output
    assert site.restarts.total() == 0


def test_a_paused_course_waits_and_all_others_flow(make_site: MakeSite) -> None:
    site = make_site({**PATIENT, "LEDGER_MAX_OPEN": "40", "LEDGER_MAX_WAITING": "400"})
    waiting, _ = innocents_and(site, [], innocents=100)
    well, _ = innocents_and(site, [], innocents=100)
    course = waiting[0].course
    site.operate("pause", "--course", course)
    site.start()
    site.send(*waiting, *well)
    site.wait_for("the others are done", lambda: len(site.certificates.records()) == site.open_count() == 100, LIMIT)
    # another click of theirs joins
    site.send(*waiting)
    site.wait_accepted()
    assert site.open_count() == 200
    assert site.entry_fields("shelf") == [f"course:{course}"] * 100
    state = _state(site)
    keep(site, STILL_SECONDS)
    assert _state(site) == state
    rows = site.tables.enrolments(waiting)
    assert [rows[learner]["status"] for learner in waiting] == [1] * len(waiting)
    assert HOLDS not in site.bridge.output()

    # the whole system's resume leaves it as it is
    assert f"stays paused: course {course}" in site.operate("resume")
    assert site.open_count() == 200
    site.operate("resume", "--course", course)
    site.wait_settled(LIMIT)
    users = [record.event["edata"]["userIds"][0] for record in site.certificates.records()]
    assert sorted(users) == sorted(learner.user for learner in [*waiting, *well])


def test_a_pause_outlives_the_death_of_bridge_and_workers(make_site: MakeSite, seed: int) -> None:
    site = make_site(BUSY, workers=2, bridges=1)
    # so many that some are left when the pause comes
    load = Load(seed, 1_200).prepare(site)
    site.start()
    load.send_all(site)
    site.wait_for("some work is done", lambda: len(site.certificates.records()) >= 10, LIMIT)
    _pause_everything(site, "an upgrade")
    for process in site.processes:
        site.kill(process)
    holds = site.bridge.output().count(HOLDS)
    site.wait_for("the new bridge holds", lambda: site.bridge.output().count(HOLDS) > holds, LIMIT)
    # what the dead workers had in hand lapses
    _wait_still(site)
    rows, state = site.tables.enrolments(load.learners), _state(site)
    assert state, "requests stand open, or nothing is shown"
    for process in site.processes:
        site.kill(process)
    keep(site, STILL_SECONDS)
    assert site.tables.enrolments(load.learners) == rows
    assert _state(site) == state
    assert {crashes for *_, crashes, _ in state} <= {"0"}
    site.operate("resume")
    site.wait_settled(LIMIT)
    load.verdict(site).check()


def test_a_completion_that_is_owed_waits_for_the_end_of_the_pause(make_site: MakeSite, tmp_path: Path) -> None:
    site = make_site(workers=1)
    file = tmp_path / "stay"
    file.touch()
    settings = {"FAULT_STEP": "before the events", "FAULT_FILE": str(file)}
    slow = site.add_worker(SLOW, settings)
    (learner,), _ = innocents_and(site, [], innocents=1)
    site.run(site.bridge, slow)
    site.send(learner)
    site.wait_for("the completion is written", lambda: STALLS in slow.output(), LIMIT)
    site.operate("pause", "--batch", learner.batch, "--reason", unique("why"))
    site.dismiss(slow)
    slow.kill()
    site.run(site.worker)
    site.wait_for("its lease lapses", lambda: site.entry_fields("shelf") == [f"batch:{learner.batch}"], LIMIT)
    keep(site, STILL_SECONDS)
    assert site.certificates.records() == []
    row = site.tables.enrolment(learner)
    assert row is not None
    assert row["status"] == 2
    assert site.entry_fields("owed") == [str(row["completedon"])]
    site.operate("resume", "--batch", learner.batch)
    site.wait_settled(LIMIT)
    assert len(site.announced(learner).certificates) == 1
