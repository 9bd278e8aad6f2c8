"""Bulk runs through a real bridge and workers: every row and event, the counts, and the clicks beside them."""

import base64
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bulk.runs import RunCounts, RunStore, Standing
from ledger.config import ledger_config
from ledger.connection import LedgerConnection
from reconciliation.settings import load_settings
from tasks.portions import PORTION
from tests.integration.conftest import MakeInstallation
from tests.support.bulk_driver import FINISHED, FORGOT, INTERRUPTED, REFUSED, STOPPED
from tests.support.installation import Installation, new_learner
from tests.support.processes import WORKER, Process
from tests.support.relations import course_of_units
from tests.support.tables import Learner
from tests.support.waiting import wait_until

LIMIT = 120.0
_STATUS = "from commands.bulk_status import bulk_status; bulk_status()"
SETTINGS = {
    "RETRY_ATTEMPTS": "2",
    "RETRY_BACKOFF_FIRST": "0.1",
    "LEDGER_SWEEP_INTERVAL": "0.1",
}


class Runs:
    """Bulk runs of one installation, each driven by a process of its own."""

    def __init__(self, installation: Installation, folder: Path) -> None:
        self.installation = installation
        self._folder = folder
        self._drivers: list[Process] = []
        self._store = RunStore(LedgerConnection(ledger_config(load_settings(installation.settings))))

    def drive(
        self,
        run_id: str,
        pages: Sequence[Sequence[Learner]],
        *,
        resume: bool = False,
        rate: float | None = None,
        most_given_up: int = 100,
        lease: float = 60.0,
    ) -> Process:
        """Start to drive a run."""
        order = self._folder / f"{uuid.uuid4().hex}.json"
        fields = {"resume": resume, "rate": rate, "most_given_up": most_given_up, "lease": lease}
        document = {"run_id": run_id, "pages": [[it.ids for it in page] for page in pages], **fields}
        order.write_text(json.dumps(document), encoding="utf-8")
        command = [sys.executable, "-m", "tests.support.bulk_driver", str(order)]
        driver = Process("driver", command, self.installation.settings, order.with_suffix(".log"))
        driver.start()
        self._drivers.append(driver)
        return driver

    def finish(self, run_id: str, learners: Sequence[Learner], **options: Any) -> Standing:
        """Drive a run to its end; gives how it stands then."""
        driver = self.drive(run_id, [learners], **options)
        assert driver.wait(LIMIT) == FINISHED, driver.told()
        return self.standing(run_id)

    def standing(self, run_id: str) -> Standing:
        """How a run stands; it must be there."""
        found = self._store.read(run_id)
        assert found is not None
        return found

    def counts(self, run_id: str) -> RunCounts:
        """What became of a run's requests."""
        return self._store.counts(run_id)

    def status(self, *arguments: str) -> dict[str, Any]:
        """What `bulk status --json` tells."""
        ended = self.tell(*arguments, "--json")
        assert ended.returncode == 0, ended.stderr
        told: dict[str, Any] = json.loads(ended.stdout)
        return told

    def tell(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `bulk status`."""
        command = [sys.executable, "-c", _STATUS, *arguments]
        environment = {"PATH": os.environ["PATH"], **self.installation.settings}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    def kill(self) -> None:
        """End the drivers that still run."""
        self._store.close()
        for driver in self._drivers:
            driver.kill()


MakeRuns = Callable[[Installation], Runs]


@pytest.fixture
def make_runs(tmp_path: Path) -> Iterator[MakeRuns]:
    made: list[Runs] = []

    def make(installation: Installation) -> Runs:
        made.append(Runs(installation, tmp_path))
        return made[-1]

    yield make
    for runs in made:
        runs.kill()


@pytest.fixture(scope="module")
def installation(make_installation: MakeInstallation) -> Iterator[Installation]:
    with make_installation(SETTINGS) as made:
        yield made.start()


@pytest.fixture
def runs(installation: Installation, make_runs: MakeRuns) -> Runs:
    return make_runs(installation)


def new_run() -> str:
    return f"20260131-143005-{uuid.uuid4().hex[:8]}"


def enrolled(
    installation: Installation, count: int, *, completed: bool = True, course: str | None = None, **cells: object
) -> list[Learner]:
    """Make learners of one course who have done everything in it, or half."""
    course = course or new_learner().course
    learners = [new_learner(course) for _ in range(count)]
    installation.relations.fill(course_of_units(course, {"unit": {"a", "b"}}))
    installation.tables.add_consumption({it: {"a": 2, "b": 2 if completed else 1} for it in learners})
    installation.tables.add_enrolments(learners, **cells)
    return learners


def statuses(installation: Installation, learners: Sequence[Learner]) -> list[int | None]:
    rows = [installation.tables.enrolment(it) or {} for it in learners]
    return [row.get("status") for row in rows]


def certificates(installation: Installation, learners: Sequence[Learner]) -> dict[Learner, int]:
    return {learner: len(mids) for learner, mids in certificate_mids(installation, learners).items()}


def certificate_mids(installation: Installation, learners: Sequence[Learner]) -> dict[Learner, list[str]]:
    mids: dict[Learner, list[str]] = {learner: [] for learner in learners}
    for record in installation.certificates.records():
        edata = record.event["edata"]
        learner = Learner(edata["userIds"][0], edata["courseId"], edata["batchId"])
        if learner in mids:
            mids[learner].append(record.event["mid"])
    return mids


def checkpoint(runs: Runs, run_id: str) -> int | None:
    found = runs._store.read(run_id)
    return None if found is None else found.run.checkpoint


def aged(installation: Installation) -> float:
    """How many requests' ages the worker has told, once it has counted all that is settled."""
    installation.wait_counted()
    return installation.measured("worker", "request_age_seconds_count")


def is_idle(installation: Installation) -> bool:
    return installation.open_count() == 0


def test_a_run_of_hundreds_ends_with_every_row_and_event_once(installation: Installation, runs: Runs) -> None:
    done, half = enrolled(installation, 150), enrolled(installation, 150, completed=False)
    done_before = enrolled(installation, 20, status=2, completedon=1_600_000_000_000)
    everyone = [*done, *half, *done_before]
    ages = aged(installation)
    runs.finish(run_id := new_run(), everyone)
    told = runs.status(run_id)
    counts = {name: told[name] for name in ("state", "submitted", "settled", "open", "given_up", "found", "driven_by")}
    assert counts == {
        "state": "finished",
        "submitted": 320,
        "settled": 320,
        "found": 320,
        "open": 0,
        "given_up": 0,
        "driven_by": "",
    }
    assert statuses(installation, everyone) == [2] * 150 + [1] * 150 + [2] * 20
    assert [(installation.tables.enrolment(it) or {})["progress"] for it in half] == [1] * 150
    assert set(certificates(installation, done).values()) == {1}
    assert set(certificates(installation, [*half, *done_before]).values()) == {0}
    assert installation.leftovers() == []
    assert run_id in runs.tell().stdout
    assert run_id in runs.tell(run_id).stdout
    # the ages of requests are those of clicks: this one's is the only one more
    installation.sync(*enrolled(installation, 1))
    assert aged(installation) == ages + 1
    wait_until("no request of a run is shown", lambda: installation.measured("bridge", "bulk_open_requests") == 0)
    # the same page again: nothing is written anew, and nothing announced
    rows = installation.tables.all_enrolments()
    assert runs.finish(new_run(), done).counts.settled == 150
    assert set(certificates(installation, done).values()) == {1}
    assert {it: installation.tables.enrolment(it) for it in done} == {it: rows[it] for it in done}


def test_a_completion_without_its_time_is_mended_by_a_run_and_left_by_a_click(
    installation: Installation, runs: Runs
) -> None:
    (by_click,) = enrolled(installation, 1, status=2)
    (by_run,) = enrolled(installation, 1, status=2)
    (not_done,) = enrolled(installation, 1, status=2, completed=False)
    installation.sync(by_click)
    assert (installation.tables.enrolment(by_click) or {})["completedon"] is None
    assert installation.announced(by_click).certificates == []
    runs.finish(new_run(), [by_run, not_done])
    row = installation.tables.enrolment(by_run) or {}
    assert (row["status"], row["progress"]) == (2, 2)
    announced = installation.announced(by_run)
    assert [it.event["mid"].split(".")[1] for it in announced.certificates] == [str(row["completedon"])]
    assert len(announced.audits) == 1
    assert (installation.tables.enrolment(not_done) or {})["completedon"] is None
    assert installation.announced(not_done).certificates == []


def test_what_is_given_up_carries_the_run_s_place_and_can_be_replayed(installation: Installation, runs: Runs) -> None:
    learners = enrolled(installation, 12)
    course = learners[0].course
    installation.relations.remove(course, course, "leafnodes")
    run_id = new_run()
    driver = runs.drive(run_id, [learners], most_given_up=3)
    assert driver.wait(LIMIT) == STOPPED, driver.told()
    told = runs.status(run_id)
    assert told["state"] == "stopped"
    assert "3 may be" in told["reason"]
    wait_until("nothing is open", lambda: is_idle(installation))
    assert runs.counts(run_id).given_up == 12
    failed = [it for it in installation.failed.records() if it.event["edata"]["courseId"] == course]
    assert {it.headers["original-topic"] for it in failed} == {f"bulk:{run_id}".encode()}
    assert len({it.headers["original-offset"] for it in failed}) == 12
    assert {it.event["failInfo"]["errorCode"] for it in failed} == {"RELATIONS_MISSING"}
    assert installation.measured("bridge", "failures_held") == 0
    installation.relations.fill(course_of_units(course, {"unit": {"a", "b"}}))
    # what was given up before does not count again, and is not submitted again either
    others = enrolled(installation, 5, course=course)
    resumed = runs.drive(run_id, [learners, others], resume=True, most_given_up=3)
    assert resumed.wait(LIMIT) == FINISHED, resumed.told()
    assert statuses(installation, others) == [2] * 5
    assert (runs.counts(run_id).submitted, runs.counts(run_id).given_up) == (17, 12)
    installation.operate("replay", "--course", course, "--yes")
    wait_until("the replayed requests are answered", lambda: statuses(installation, learners) == [2] * 12, LIMIT)
    installation.wait_settled()
    assert set(certificates(installation, learners).values()) == {1}


def test_a_paused_course_keeps_its_part_of_a_run_back(installation: Installation, runs: Runs) -> None:
    paused, others = enrolled(installation, 10), enrolled(installation, 10)
    installation.operate("pause", "--course", paused[0].course)
    run_id = new_run()
    driver = runs.drive(run_id, [[*paused, *others]])
    wait_until("the others are done", lambda: statuses(installation, others) == [2] * 10, LIMIT)
    wait_until("they are settled", lambda: runs.counts(run_id).settled == 10)
    assert statuses(installation, paused) == [1] * 10
    assert runs.counts(run_id).open == 10
    # a bridge looks at every sweep
    wait_until(
        "the metric says so", lambda: installation.measured("bridge", "bulk_run_open_requests", run=run_id) == 10
    )
    installation.operate("resume", "--course", paused[0].course)
    assert driver.wait(LIMIT) == FINISHED, driver.told()
    assert statuses(installation, paused) == [2] * 10


def test_everything_paused_stops_a_run_before_it_submits(installation: Installation, runs: Runs) -> None:
    learners = enrolled(installation, 5)
    installation.operate("pause", "--all", "--reason", "upgrade")
    driver = runs.drive(run_id := new_run(), [learners])
    wait_until("the run waits", lambda: "upgrade" in driver.output(), LIMIT)
    assert runs.counts(run_id).submitted == 0
    installation.operate("resume")
    assert driver.wait(LIMIT) == FINISHED, driver.told()
    assert statuses(installation, learners) == [2] * 5


def test_an_interrupted_run_goes_on_where_it_was(installation: Installation, runs: Runs) -> None:
    learners = enrolled(installation, 60)
    # half a minute is left after the first page: a second process starts meanwhile, on a busy machine too
    pages = [learners[:5], learners[5:40], learners[40:]]
    run_id = new_run()
    driver = runs.drive(run_id, pages, rate=2)
    wait_until("a page is submitted", lambda: checkpoint(runs, run_id) == 1, LIMIT)
    assert runs.standing(run_id).driven_by
    second = runs.drive(run_id, pages, resume=True)
    assert second.wait(LIMIT) == REFUSED
    assert f"process {driver.pid}" in second.output()
    os.kill(driver.pid, signal.SIGINT)
    assert driver.wait(LIMIT) == INTERRUPTED, driver.told()
    told = runs.status(run_id)
    assert (told["state"], told["driven_by"]) == ("interrupted", "")
    assert told["submitted"] < 60
    assert runs.drive(run_id, pages, resume=True).wait(LIMIT) == FINISHED
    assert statuses(installation, learners) == [2] * 60
    assert set(certificates(installation, learners).values()) == {1}
    assert runs.standing(run_id).run.found == 60


def test_kills_of_worker_and_submitting_process_lose_and_double_nothing(
    make_installation: MakeInstallation, make_runs: MakeRuns
) -> None:
    with make_installation({**SETTINGS, "LEDGER_LEASE": "3"}) as installation:
        runs = make_runs(installation.start())
        learners = enrolled(installation, 240)
        pages = [learners[at : at + 60] for at in range(0, 240, 60)]
        run_id = new_run()
        driver = runs.drive(run_id, pages, rate=8, lease=5.0)
        wait_until("it is in the second page", lambda: runs.counts(run_id).submitted > 80, LIMIT)
        driver.kill()
        wait_until("an attempt runs, or all are done", lambda: installation.claimed_count() or is_idle(installation))
        installation.worker.kill()
        wait_until("nobody drives it", lambda: runs.standing(run_id).is_left, LIMIT)
        assert "left" in runs.tell(run_id).stdout
        driver = runs.drive(run_id, pages, resume=True)
        installation.worker.start()
        assert driver.wait(LIMIT) == FINISHED, driver.told()
        assert statuses(installation, learners) == [2] * 240
        # what Kafka had confirmed when the worker was killed, and it had not noted, goes again under the same mid
        assert {len(set(mids)) for mids in certificate_mids(installation, learners).values()} == {1}
        counts = runs.counts(run_id)
        assert (counts.open, counts.given_up, runs.standing(run_id).run.found) == (0, 0, 240)
        # what of the page in hand had ended was submitted again, and no page before it
        assert 240 <= counts.submitted <= 300
        assert installation.leftovers() == []


def test_a_click_goes_past_a_run_that_nobody_works_on(make_installation: MakeInstallation, make_runs: MakeRuns) -> None:
    with make_installation({**SETTINGS, "BULK_GROUP_SIZE": "10"}) as installation:
        runs = make_runs(installation)
        bulk_queue = f"{installation.group_id}-bulk"
        installation.worker.add_arguments("-Q", installation.group_id)
        installation.start()
        learners = enrolled(installation, 40)
        run_id = new_run()
        driver = runs.drive(run_id, [learners])
        wait_until("all are submitted", lambda: runs.counts(run_id).open == 40, LIMIT)
        clicker = learners[33]
        installation.send(clicker)
        wait_until("the click is answered", lambda: statuses(installation, [clicker]) == [2])
        wait_until("its run's request with it", lambda: runs.counts(run_id).settled == 1)
        assert runs.counts(run_id).open == 39
        queue = f"{installation.group_id}:celery:{bulk_queue}"
        (message, *_) = installation.redis.lrange(queue, 0, -1)
        headers = json.loads(message)["headers"]
        assert headers["argsrepr"] == f"10 requests ({clicker.course}) of bulk run {run_id}"
        shown = base64.b64decode(json.loads(message)["body"]).decode() + json.dumps(headers)
        assert not [it for it in learners if it.user in shown], "no learner's id in a message"
        wait_until("the queues are told", lambda: installation.measured("bridge", "bulk_queue_length") == 4)
        wait_until("and no click is among them", lambda: installation.measured("bridge", "queue_length") == 0)
        worker = installation.add_worker([*WORKER, "-Q", bulk_queue])
        worker.start()
        assert driver.wait(LIMIT) == FINISHED, driver.told()
        assert statuses(installation, learners) == [2] * 40
        assert set(certificates(installation, learners).values()) == {1}


def test_a_worker_of_both_queues_takes_clicks_first(make_installation: MakeInstallation, make_runs: MakeRuns) -> None:
    settings = {**SETTINGS, "WORKER_THREADS": "1", "BULK_GROUP_SIZE": "1", "LEDGER_SWEEP_AFTER": "600"}
    with make_installation(settings) as installation:
        runs = make_runs(installation)
        # told in the other order: it is the names that count
        installation.worker.add_arguments("-Q", f"{installation.group_id}-bulk,{installation.group_id}")
        installation.bridge.start()
        backlog, clickers = enrolled(installation, 300), enrolled(installation, 5)
        run_id = new_run()
        driver = runs.drive(run_id, [backlog])
        wait_until("all are submitted", lambda: runs.counts(run_id).open == 300, LIMIT)
        installation.send(*clickers)
        installation.wait_accepted()
        installation.worker.start()
        wait_until("the clicks are answered", lambda: statuses(installation, clickers) == [2] * 5, LIMIT)
        times = [(installation.tables.enrolment(it) or {})["datetime"] for it in clickers]
        assert driver.wait(LIMIT) == FINISHED, driver.told()
        before = [it for it in backlog if (installation.tables.enrolment(it) or {})["datetime"] < max(times)]
        # a message may have been asked for before the clicks' queue was
        assert len(before) <= 2


def test_beside_clicks_a_run_goes_on_a_few_at_a_time(make_installation: MakeInstallation, make_runs: MakeRuns) -> None:
    # the least share: after ten requests the thread rests for a second while clicks come
    with make_installation({**SETTINGS, "BULK_WORKER_SHARE": "1"}) as installation:
        runs = make_runs(installation.start())
        learners, clickers = enrolled(installation, 10 * PORTION), enrolled(installation, 400)
        seen: set[int] = set()

        def click() -> None:
            clicker = clickers.pop()
            installation.send(clicker)
            wait_until("a click is answered", lambda: statuses(installation, [clicker]) == [2], LIMIT)
            seen.add(runs.counts(run_id).settled)

        run_id = new_run()
        click()
        driver = runs.drive(run_id, [learners])
        while driver.is_running:
            assert clickers, "a run at its least share outlasts hundreds of clicks"
            click()
        assert driver.wait(LIMIT) == FINISHED, driver.told()
        # one message holds all hundred
        assert seen & set(range(PORTION, 10 * PORTION, PORTION))
        assert statuses(installation, learners) == [2] * 10 * PORTION


def test_a_ledger_that_forgot_ends_the_run_and_says_what_to_do(
    make_installation: MakeInstallation, make_runs: MakeRuns
) -> None:
    with make_installation(SETTINGS) as installation:
        runs = make_runs(installation.start())
        learners = enrolled(installation, 60)
        driver = runs.drive(run_id := new_run(), [learners], rate=2)
        wait_until("it has begun", lambda: runs.counts(run_id).submitted > 5, LIMIT)
        assert installation.redis.delete(f"enrolment-reconciliation:{{{installation.group_id}}}:epoch")
        assert driver.wait(LIMIT) == FORGOT, driver.told()
        told = runs.status(run_id)
        assert told["state"] == "failed"
        assert "Begin a new run over the same selection" in told["reason"]
        assert runs.finish(new_run(), learners).counts.settled == 60
        assert statuses(installation, learners) == [2] * 60
        assert set(certificates(installation, learners).values()) == {1}


def test_an_unknown_run_is_told_in_a_line(runs: Runs) -> None:
    ended = runs.tell("20260131-000000-none")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("error: there is no run 20260131-000000-none")
