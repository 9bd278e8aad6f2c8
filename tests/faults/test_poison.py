"""Requests that always raise, hang or kill their process: they alone end on the failed topic."""

from pathlib import Path

import pytest

from tests.faults.conftest import MakeSite
from tests.faults.poisonous import POISON, innocents_and
from tests.faults.site import ONE_TRY, Site
from tests.support.broker import operator
from tests.support.tables import Learner
from tests.support.waiting import wait_until

LIMIT = 150.0

SETTINGS = {
    "PYTHONPATH": POISON,
    "LEDGER_LEASE": "3",
    "RETRY_ATTEMPTS": "3",
    "RETRY_BACKOFF_FIRST": "0.2",
    "RETRY_BACKOFF_MOST": "1",
    "CRASH_ATTEMPTS": "3",
    "ATTEMPT_LIMIT": "5",
    "BRIDGE_GROUP_SIZE": "25",
}
#: Where nothing hangs: a process of its own that is slow to connect is not to be taken for one that does.
UNHURRIED = {**SETTINGS, "ATTEMPT_LIMIT": "60"}


def check(site: Site, innocent: list[Learner], poisonous: list[Learner], *, once: bool = True) -> None:
    """Every innocent is completed and announced, every poisonous one on the failed topic, nobody else there.

    Not `once`: a worker that is killed when Kafka has a failure, before that is noted, has it sent again as it was.
    """
    rows = site.tables.enrolments([*innocent, *poisonous])
    assert {rows[learner]["status"] for learner in innocent} == {2}
    assert {rows[learner]["status"] for learner in poisonous} == {1}
    announced = [record.event["edata"]["userIds"][0] for record in site.certificates.records()]
    assert set(announced) == {learner.user for learner in innocent}
    failed = [(record.event["edata"]["userId"], record.event["failInfo"]) for record in site.failed.records()]
    if not once:
        failed = [told for number, told in enumerate(failed) if told not in failed[:number]]
    assert sorted(user for user, _ in failed) == sorted(learner.user for learner in poisonous)


def measured(site: Site, metric: str, **labels: str) -> float:
    """Add a metric up over all workers, once each of them answers."""

    def scraped(worker: str) -> float | None:
        try:
            return site.measured(worker, metric, **labels)
        except OSError:
            return None

    total = 0.0
    for worker in site.workers:
        wait_until(f"{worker.name}'s metrics", lambda name=worker.name: scraped(name) is not None)
        total += scraped(worker.name) or 0.0
    return total


def reason(site: Site, learner: Learner) -> dict[str, object]:
    (event,) = site.failures(learner)
    found: dict[str, object] = event["failInfo"]
    return found


@pytest.mark.parametrize("pool", ["threads", "processes", "solo"])
def test_a_request_that_kills_its_process_ends_alone(make_site: MakeSite, pool: str) -> None:
    # no lease ends before a worker has told of a process that it lost
    site = make_site({**UNHURRIED, "LEDGER_LEASE": "10"})
    for worker in site.workers:
        worker.add_arguments("--pool", pool)
    innocent, poisonous = innocents_and(site, ["kills"])
    site.start()
    # in the middle of a group
    site.send(*innocent[:12], *poisonous, *innocent[12:])
    site.wait_settled(LIMIT)

    check(site, innocent, poisonous)
    told = reason(site, *poisonous)
    assert told["errorCode"] == "WORKER_LOST"
    assert "killed by SIGKILL" in str(told["error"])
    # two of its worker's processes went with it, in company and alone; the others were its own
    assert sum(site.restarts.values()) <= 2
    # and are counted by the workers that started them
    site.wait_counted()
    assert measured(site, "requests_retried_total", reason="WORKER_LOST", spends="crash") == 2
    assert measured(site, "request_age_seconds_count", outcome="failed") == 1


@pytest.mark.parametrize("pool", ["threads", "processes", "solo"])
def test_a_request_that_hangs_is_ended_by_the_limit(make_site: MakeSite, pool: str) -> None:
    site = make_site(SETTINGS, workers=1)
    site.worker.add_arguments("--pool", pool)
    innocent, poisonous = innocents_and(site, ["hangs"])
    site.start()
    site.send(*innocent[:12], *poisonous, *innocent[12:])
    pid = site.worker.pid
    site.wait_settled(LIMIT)

    check(site, innocent, poisonous)
    told = reason(site, *poisonous)
    assert told["errorCode"] == "WORKER_LOST"
    assert "attempt.limit" in str(told["error"])
    # nobody had to start the worker again
    assert site.worker.pid == pid
    assert site.restarts.total() == 0
    # a pool of processes (prefork by its other name: Celery takes `--pool prefork` for no choice) starts another child
    assert ("the worker starts anew" in site.worker.output()) == (pool != "processes")


def test_memory_that_runs_out_for_a_whole_group_counts_against_nobody_in_it(make_site: MakeSite) -> None:
    site = make_site({**UNHURRIED, **ONE_TRY}, workers=1)
    innocent, poisonous = innocents_and(site, ["starves"], innocents=24)
    site.start()
    site.send(*innocent[:12], *poisonous, *innocent[12:])
    site.wait_settled(LIMIT)
    check(site, innocent, poisonous)
    assert reason(site, *poisonous)["errorCode"] == "REQUEST_FAILED"


@pytest.mark.parametrize("pool", ["threads", "processes"])
def test_what_an_attempt_in_its_own_process_counts_and_times_arrives(
    make_site: MakeSite, pool: str, tmp_path: Path
) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    site = make_site({**UNHURRIED, "POISON_WAITS_FOR": str(hold)}, workers=1)
    site.worker.add_arguments("--pool", pool)
    _, poisonous = innocents_and(site, ["waits"], innocents=0)
    site.start()
    site.send(*poisonous)
    site.wait_for("the attempt runs", lambda: site.claimed_count() == 1, LIMIT)
    # lost alone, so it goes on in a process of its own
    site.kill(site.worker)
    site.wait_for("the process of its own", lambda: "in a process of its own" in site.worker.output(), LIMIT)
    site.wait_for("its attempt", lambda: measured(site, "attempts_running") == 1, LIMIT)
    hold.unlink()
    site.wait_settled(LIMIT)

    # the worker that is left made no attempt itself
    site.wait_counted(LIMIT)
    assert measured(site, "success_events_count_total") == 1
    assert measured(site, "enrolment_complete_count_total") == 1
    assert measured(site, "cert_issue_events_count_total") == 1
    for stage in ("look", "relations", "aggregates", "debts", "enrolments", "announce", "settle"):
        assert measured(site, "stage_seconds_count", stage=stage) == 1
    assert measured(site, "request_age_seconds_count", outcome="done") == 1
    assert measured(site, "attempts_running") == 0
    ended = [line for line in site.worker.output().splitlines() if "a request ended" in line]
    assert len(ended) == 1
    assert "verdict=completed" in ended[0]


def test_a_request_that_raises_spends_its_tries_alone(make_site: MakeSite) -> None:
    site = make_site(UNHURRIED)
    innocent, poisonous = innocents_and(site, ["raises"])
    site.start()
    site.send(*innocent[:12], *poisonous, *innocent[12:])
    site.wait_settled(LIMIT)

    check(site, innocent, poisonous)
    told = reason(site, *poisonous)
    assert told["errorCode"] == "REQUEST_FAILED"
    assert told["attempts"] == 3
    assert site.restarts.total() == 0


@pytest.mark.parametrize(("harm", "code"), [("exits", "REQUEST_FAILED"), ("exhausts", "WORKER_LOST")])
def test_requests_that_celery_would_never_acknowledge_cost_a_worker_no_thread(
    make_site: MakeSite, harm: str, code: str
) -> None:
    # more of them than there are threads; whoever is charged with another's end has no further try
    site = make_site({**UNHURRIED, **ONE_TRY, "WORKER_THREADS": "2"}, workers=1)
    innocent, poisonous = innocents_and(site, [harm] * 3, innocents=6)
    early, late = innocent[:5], innocent[5:]
    site.start()
    pid = site.worker.pid
    site.send(*early[:2], *poisonous, *early[2:])
    site.wait_settled(LIMIT)
    site.send(*late)
    site.wait_settled(LIMIT)

    check(site, innocent, poisonous)
    assert [reason(site, learner)["errorCode"] for learner in poisonous] == [code] * 3
    assert site.worker.pid == pid
    assert site.restarts.total() == 0
    assert "an attempt ended without a word" in site.worker.output()


@pytest.mark.timeout(600)
def test_poison_of_every_kind_together_hurts_nobody_else(make_site: MakeSite) -> None:
    # an innocent's own process is slow to connect where others start beside it
    site = make_site({**SETTINGS, "ATTEMPT_LIMIT": "10"})
    innocent, poisonous = innocents_and(site, ["kills", "kills", "raises", "hangs", "raises"])
    site.start()
    for number, learner in enumerate(poisonous):
        site.send(*innocent[number::5], learner)
    site.wait_settled(2 * LIMIT)

    check(site, innocent, poisonous, once=False)


def hanging(make_site: MakeSite) -> Site:
    """Give a site whose one worker is in an attempt that hangs, long before anybody takes notice."""
    site = make_site({**SETTINGS, "ATTEMPT_LIMIT": "600", "WORKER_SHUTDOWN_LIMIT": "2"}, workers=1)
    _, poisonous = innocents_and(site, ["hangs"], innocents=0)
    site.start()
    site.send(*poisonous)
    wait_until("the attempt runs", lambda: site.claimed_count() == 1, LIMIT)
    return site


def test_an_operator_may_end_a_worker_in_which_an_attempt_hangs(make_site: MakeSite) -> None:
    site = hanging(make_site)
    site.stop(site.worker)
    assert site.open_count() == 1
    site.dismiss(site.bridge)


def test_a_remote_command_may_end_a_worker_in_which_an_attempt_hangs(make_site: MakeSite) -> None:
    site = hanging(make_site)
    site.dismiss(site.worker)
    with operator(site.settings, site.group_id) as app:
        (answer,) = app.control.broadcast("ping", reply=True, limit=1, timeout=20)
        app.control.shutdown(destination=list(answer))
    assert site.worker.wait(30) == 0
    assert "did not end in time and is ended" in site.worker.output()
    assert "starts anew" not in site.worker.output()
    assert site.open_count() == 1
    site.dismiss(site.bridge)
