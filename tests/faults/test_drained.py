"""The ledger emptied under load before its Redis is moved, and one that can't be."""

import json

from tests.faults.broker import queue_of
from tests.faults.conftest import MakeSite
from tests.faults.load import Load
from tests.faults.poisonous import innocents_and
from tests.faults.servers import forget, keep
from tests.faults.site import PATIENT
from tests.support.installation import COMMAND_LIMIT, new_learner

LIMIT = 120.0
DRAIN_SECONDS = "100"


def test_a_drain_under_load_ends_with_nothing_open_and_redis_may_be_lost(make_site: MakeSite, seed: int) -> None:
    site = make_site({**PATIENT, "BRIDGE_GROUP_SIZE": "5", "BRIDGE_POLL_RECORDS": "40"}, workers=2, bridges=2)
    load = Load(seed, 300).prepare(site)
    site.start()
    with load.keep_busy(site, backlog=200, at_once=100):
        site.wait_for("some work is done", lambda: len(site.certificates.records()) >= 10, LIMIT)
        said = site.operate("drain", "--timeout", DRAIN_SECONDS, limit=float(DRAIN_SECONDS) + COMMAND_LIMIT)
        assert "0 open, queue empty" in said
        assert (site.open_count(), len(queue_of(site))) == (0, 0)
        rows = site.tables.enrolments(load.learners)
        keep(site, 4)
    assert (site.open_count(), len(queue_of(site))) == (0, 0)
    assert site.tables.enrolments(load.learners) == rows
    assert site.behind(), "Kafka keeps what came"
    assert "resumed" in site.operate("resume")
    site.wait_settled(LIMIT)
    verdict = load.verdict(site)
    verdict.check()
    assert verdict.repeated == ()
    assert site.restarts.total() == 0


def test_a_redis_that_comes_up_empty_after_a_drain_owes_nothing(make_site: MakeSite) -> None:
    site = make_site(PATIENT, workers=1)
    learners, _ = innocents_and(site, [], innocents=30)
    site.start()
    site.send(*learners[:20])
    site.wait_for("some work is done", site.certificates.records, LIMIT)
    site.operate("drain", "--timeout", DRAIN_SECONDS, limit=float(DRAIN_SECONDS) + COMMAND_LIMIT)
    certificates = len(site.certificates.records())
    site.stop(*site.processes)
    # the new Redis: the pause went with the old one
    forget(site)
    site.send(*learners[20:])
    site.start()
    site.wait_settled(LIMIT)
    assert certificates <= 20
    users = [record.event["edata"]["userIds"][0] for record in site.certificates.records()]
    assert set(users) == {learner.user for learner in learners}


def test_a_drain_that_a_broken_course_holds_up_says_so(make_site: MakeSite) -> None:
    site = make_site({**PATIENT, "RETRY_BACKOFF_FIRST": "600", "RETRY_BACKOFF_MOST": "600"}, workers=1)
    broken = new_learner()
    site.tables.add_consumption({broken: {"a": 2}})
    site.tables.add_enrolments([broken])
    site.start()
    # an attempt that does not reach Cassandra yet waits, and spends no try
    site.wait_ready()
    site.send(broken)
    site.wait_for("it waits for its next try", lambda: site.spent() == [(1, 0)], LIMIT)
    ended = site.run_command("drain", "--timeout", "3")
    assert ended.returncode == 1
    assert broken.course in ended.stdout
    assert "RELATIONS_MISSING" in ended.stdout
    assert "retrying" in ended.stdout
    assert "1 open" in ended.stderr
    assert "nothing hurries" in ended.stderr
    assert "acceptance stays stopped" in ended.stderr

    ended = site.run_command("drain", "--timeout", "0", "--json")
    assert ended.returncode == 1
    told = json.loads(ended.stdout)
    ((left,), drained) = told["left"], told["drained"]
    assert (drained, left["course"], left["cause"]) == (False, broken.course, "RELATIONS_MISSING")
    # it is hurried by nobody
    assert site.spent() == [(1, 0)]
    well, _ = innocents_and(site, [], innocents=5)
    site.send(*well)
    keep(site, 2)
    assert sum(site.behind().values()) == 5
    site.operate("resume")
    site.wait_for("the others are done", lambda: len(site.certificates.records()) == 5, LIMIT)
    site.operate("forget", "--user", broken.user, "--yes")
    site.wait_settled(LIMIT)
