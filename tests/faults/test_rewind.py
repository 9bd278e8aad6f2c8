"""Back to a time by hand: what Redis and the commits forgot both, an operator can have read again."""

import json

from tests.faults.conftest import MakeSite
from tests.faults.poisonous import innocents_and
from tests.faults.site import PATIENT, UP_LIMIT, Site
from tests.support.waiting import wait_until


def goings_back(site: Site) -> int:
    return site.bridge.output().count("going back to where an operator wants it")


def test_everything_since_then_is_read_again_and_nobody_is_announced_twice(make_site: MakeSite) -> None:
    site = make_site(PATIENT, workers=1)
    learners, _ = innocents_and(site, [], innocents=40)
    site.start()
    site.send(*learners)
    site.wait_settled(UP_LIMIT)
    # as if some of them had been lost: their rows are as before, and the ledger knows nothing of them
    lost = learners[:10]
    site.tables.add_enrolments(lost, completedon=None)
    site.operate("rewind", "--since", "1h", "--yes")
    wait_until("both partitions go back", lambda: goings_back(site) == 2)
    wait_until("all is read again", lambda: site.metrics("bridge")["total_events_count_total"] >= 80)
    site.wait_settled(UP_LIMIT)

    rows = site.tables.enrolments(learners)
    assert {rows[learner]["status"] for learner in learners} == {2}
    certificates = [record.event["edata"]["userIds"][0] for record in site.certificates.records()]
    assert sorted(certificates) == sorted(learner.user for learner in [*learners, *lost])

    # another start, and another bridge, do not go back once more
    site.stop(site.bridge)
    site.start()
    site.send(learners[20])
    site.wait_settled(UP_LIMIT)
    assert goings_back(site) == 2
    assert len(site.certificates.records()) == 50


def test_an_order_given_while_no_bridge_runs_is_carried_out_at_the_next_start(make_site: MakeSite) -> None:
    site = make_site(PATIENT, workers=1)
    learners, _ = innocents_and(site, [], innocents=10)
    site.start()
    site.send(*learners)
    site.wait_settled(UP_LIMIT)
    site.stop(site.bridge)
    told = json.loads(site.operate("rewind", "--since", "1d", "--yes", "--json"))
    assert (told["topic"], told["group"]) == (site.input_topic, site.group_id)
    site.tables.add_enrolments(learners, completedon=None)
    site.start()
    wait_until("all are completed again", lambda: len(site.certificates.records()) >= 20, UP_LIMIT)
    site.wait_settled(UP_LIMIT)


def test_a_time_after_the_last_record_changes_nothing(make_site: MakeSite) -> None:
    site = make_site(PATIENT, workers=1)
    learners, _ = innocents_and(site, [], innocents=10)
    site.start()
    site.send(*learners)
    site.wait_settled(UP_LIMIT)
    taken = site.metrics("bridge")["total_events_count_total"]
    site.operate("rewind", "--since", "0s", "--yes")
    wait_until("it was heard", lambda: "a rewind was ordered" in site.bridge.output())
    site.send(*learners[:2])
    site.wait_settled(UP_LIMIT)
    assert site.metrics("bridge")["total_events_count_total"] == taken + 2
