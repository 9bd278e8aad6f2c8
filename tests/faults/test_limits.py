"""What many failing or waiting requests may do to the others: little."""

from devstack.ports import HOST, free_port
from tests.faults.conftest import MakeSite
from tests.faults.poisonous import POISON, innocents_and
from tests.faults.site import ONE_TRY, PATIENT, Site
from tests.support.installation import new_learner, unique
from tests.support.relations import course_of_units
from tests.support.tables import Learner
from tests.support.waiting import wait_until

LIMIT = 120.0
#: Once the breaker opened, this is for how long.
HOLD_SECONDS = 60.0


def of_a_broken_course(site: Site, count: int) -> list[Learner]:
    """Enrol so many learners in one course whose leaf nodes are missing."""
    course, batch = unique("do"), unique("batch")
    broken = [Learner(unique("user"), course, batch) for _ in range(count)]
    site.tables.add_consumption({learner: {"a": 2} for learner in broken})
    site.tables.add_enrolments(broken)
    return broken


def test_a_bad_deploy_does_not_move_the_topic_to_the_failed_one(make_site: MakeSite) -> None:
    site = make_site({**PATIENT, **ONE_TRY, "FAILURES_MAX_PER_MINUTE": "20"}, workers=1)
    bad = site.add_worker(settings={"PYTHONPATH": POISON})
    well, hit = innocents_and(site, ["raises"] * 80, innocents=20)
    site.run(site.bridge, bad)
    site.send(*hit)
    wait_until("nothing more is given up", lambda: "too many requests fail" in bad.output(), LIMIT)
    site.send(*well)
    wait_until("the bridge stops", lambda: "too many requests were given up of late" in site.bridge.output(), LIMIT)
    assert site.behind(), "what came after stays on the topic"
    wait_until("the hold shows", lambda: site.measured("bridge", "bridge_hold", reason="too_many_failures") == 1, LIMIT)
    wait_until("the metrics say so", lambda: site.measured("bridge", "failures_held") == 1, LIMIT)

    # the release is taken back
    site.stop(bad)
    site.run(site.worker)
    wait_until("who waits is done meanwhile", lambda: site.open_count() == 0, LIMIT)
    assert "resumed" in site.operate("resume")
    site.wait_settled(LIMIT)
    wait_until("the metrics take it back", lambda: site.measured("bridge", "failures_held") == 0, LIMIT)
    wait_until("nothing is held", lambda: site.measured("bridge", "bridge_hold") == 0, LIMIT)
    assert len(site.failed.records()) == 20
    rows = site.tables.enrolments([*well, *hit])
    assert sum(rows[learner]["status"] == 2 for learner in [*well, *hit]) == 80
    assert "nothing to do" in site.operate("resume")


def test_consumption_goes_on_by_itself_when_the_failures_end(make_site: MakeSite) -> None:
    site = make_site({**PATIENT, **ONE_TRY, "FAILURES_MAX_PER_MINUTE": "3", "PYTHONPATH": POISON})
    well, hit = innocents_and(site, ["raises"] * 4, innocents=20)
    site.start()
    site.send(*hit)
    wait_until("one is held", lambda: len(site.failed.records()) == 3 and site.open_count() == 1, LIMIT)
    site.send(*well)
    site.wait_settled(HOLD_SECONDS + LIMIT)
    assert sorted(record.event["edata"]["userId"] for record in site.failed.records()) == sorted(
        learner.user for learner in hit
    )


def test_a_stop_that_one_course_causes_ends_when_that_course_is_paused(make_site: MakeSite) -> None:
    site = make_site({**PATIENT, **ONE_TRY, "FAILURES_MAX_PER_MINUTE": "5"})
    broken = of_a_broken_course(site, 40)
    course = broken[0].course
    well, _ = innocents_and(site, [], innocents=20)
    site.start()
    site.send(*broken)
    wait_until("as many as may are given up", lambda: len(site.failed.records()) == 5, LIMIT)
    # the bridge stops once there is something that it must not take
    stop = "too many requests were given up of late"
    site.send(*well)
    wait_until("the bridge stops", lambda: stop in site.bridge.output(), LIMIT)
    site.operate("pause", "--course", course)
    assert "resumed" in site.operate("resume")
    wait_until("everybody else is done", lambda: len(site.certificates.records()) == 20, LIMIT)
    given_up = {record.event["edata"]["userId"] for record in site.failed.records()}
    # what was attempted when the pause came may have been given up after the stop had ended
    assert 5 <= len(given_up) <= 10
    assert given_up < {learner.user for learner in broken}

    site.relations.fill(course_of_units(course, {unique("unit"): {"a"}}))
    site.operate("resume", "--course", course)
    site.wait_settled(LIMIT)
    rows = site.tables.enrolments(broken)
    assert {learner.user for learner in broken if rows[learner]["status"] == 1} == given_up


def test_a_broken_course_that_fills_its_share_holds_nobody_else(make_site: MakeSite) -> None:
    # tries far apart: all of the broken course's requests wait at once
    far_apart = {"RETRY_BACKOFF_FIRST": "600", "RETRY_BACKOFF_MOST": "600"}
    site = make_site({**PATIENT, **far_apart, "LEDGER_MAX_OPEN": "60", "LEDGER_MAX_WAITING": "400"})
    broken = of_a_broken_course(site, 150)
    well, _ = innocents_and(site, [], innocents=100)
    site.start()
    site.send(*broken)
    wait_until("all of them wait", lambda: site.open_count() == 150 and site.claimed_count() == 0, LIMIT)
    site.send(*well)
    wait_until(
        "everybody else is done",
        lambda: len(site.certificates.records()) == 100 and site.open_count() == 150 and not site.behind(),
        LIMIT,
    )
    assert site.failed.records() == []


def test_a_search_service_that_is_away_holds_nobody_who_does_not_need_it(make_site: MakeSite) -> None:
    site = make_site(
        {
            **PATIENT,
            "LEDGER_MAX_OPEN": "60",
            "LEDGER_MAX_WAITING": "400",
            "SERVICE_SEARCH_BASEPATH": f"http://{HOST}:{free_port()}",
        }
    )
    waiting = [new_learner() for _ in range(150)]
    site.tables.add_consumption({learner: {"a": 2} for learner in waiting})
    site.tables.add_enrolments(waiting)
    well, _ = innocents_and(site, [], innocents=100)
    site.start()
    site.send(*waiting)
    site.send(*well)
    wait_until("everybody else is done", lambda: len(site.certificates.records()) == 100, LIMIT)
    assert site.failed.records() == []
    # and when it is there again, under another name: the relation sets are
    site.relations.fill(*(course_of_units(learner.course, {"unit": {"a"}}) for learner in waiting))
    site.wait_settled(LIMIT)
    assert len(site.certificates.records()) == 250
