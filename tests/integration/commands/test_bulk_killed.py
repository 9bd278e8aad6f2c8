"""A bulk run over every kind of stuck enrolment, killed three times on its way, heals these and touches no other.

BULK_ENROLMENTS says among how many they hide; 200000 is the full figure.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest

from benchmarks.hidden_stuck import STUCK, HiddenShape, HiddenStuck
from bulk.model import Reason
from bulk.runs import RunStore
from devstack.cassandra import session
from devstack.ports import HOST
from devstack.schema import AggregateLayout
from ledger.config import ledger_config
from ledger.connection import LedgerConnection
from reconciliation.model import EnrolmentKey
from reconciliation.settings import load_settings
from tests.conftest import RUN_SEED, MakeKeyspace
from tests.integration.commands.support import COMMAND
from tests.integration.conftest import MakeInstallation
from tests.support.installation import Installation
from tests.support.processes import Process
from tests.support.search import SearchService
from tests.support.tables import Learner, Row
from tests.support.waiting import wait_until

KILLS = 3
ENROLMENTS = int(os.environ.get("BULK_ENROLMENTS") or 2_000)
SHAPE = HiddenShape(ENROLMENTS, courses=6, contents=6, stuck=0.2)
if ENROLMENTS >= 50_000:
    SHAPE = HiddenShape(ENROLMENTS)
LIMIT = 240.0 + ENROLMENTS / 200
pytestmark = pytest.mark.timeout(300 + ENROLMENTS / 80)
SETTINGS = {"RETRY_ATTEMPTS": "2", "RETRY_BACKOFF_FIRST": "0.1", "LEDGER_SWEEP_INTERVAL": "0.1"}
#: Another database than that of courses which other tests call the same.
DATABASE = 12

CERTIFICATE_ONLY = (Reason.NO_CERTIFICATE,)
COMPLETES = {Reason.NOT_COMPLETED, Reason.NO_COMPLETED_ON}
CHANGES_ENROLMENT = {*COMPLETES, Reason.PROGRESS}


@pytest.fixture
def hidden() -> HiddenStuck:
    shape = HiddenShape(SHAPE.enrolments, SHAPE.courses, SHAPE.contents, SHAPE.stuck, int(os.environ[RUN_SEED]))
    return HiddenStuck(shape)


@pytest.fixture
def installation(
    hidden: HiddenStuck, search: SearchService, make_installation: MakeInstallation, make_keyspace: MakeKeyspace
) -> Iterator[Installation]:
    search.statuses[hidden.retired.course] = "Retired"
    settings = {
        **SETTINGS,
        "SERVICE_SEARCH_BASEPATH": search.base_path,
        "REDIS_DATABASE_RELATIONCACHE_ID": str(DATABASE),
    }
    keyspace = make_keyspace(AggregateLayout.USER_IN_PARTITION)
    with make_installation(settings, keyspace=keyspace, relation_database=DATABASE) as made:
        with session(HOST, made.ports.cassandra) as cql:
            cql.set_keyspace(keyspace)
            hidden.fill(cql)
        made.relations.fill_sets(hidden.sets())
        yield made.start()


def started(installation: Installation, log: Path, *arguments: str) -> Process:
    process = Process("bulk", [COMMAND, "bulk", *arguments, "--no-recount", "--json"], installation.settings, log)
    process.start()
    return process


def killed(process: Process) -> None:
    """Kill a run; its readers end by themselves."""
    readers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    wait_until("its readers are gone", lambda: not any(it.is_running() for it in readers), LIMIT)


def of_others(rows: dict[tuple[str, str, str], Row], wrong: set[EnrolmentKey]) -> dict[tuple[str, str, str], Row]:
    """Aggregate rows of all but these; in this keyspace a course has batches of its own."""
    left_out = {(key.user_id, key.batch_id) for key in wrong}
    return {(activity, *of): row for (activity, *of), row in rows.items() if tuple(of) not in left_out}


def written_ids(found: set[Learner]) -> set[EnrolmentKey]:
    return {EnrolmentKey(*it.ids) for it in found}


def test_killed_three_times_it_heals_exactly_what_is_stuck(
    hidden: HiddenStuck, installation: Installation, tmp_path: Path
) -> None:
    random = Random(hidden.shape.seed)
    tables = installation.tables
    before = tables.all_enrolments()
    times, aggregates = tables.all_write_times(), tables.all_aggregates()
    assert set(hidden.expected.values()) == set(STUCK.values()), "every kind is there"
    wrong = {key for key, reasons in hidden.expected.items() if reasons != CERTIFICATE_ONLY}
    store = RunStore(LedgerConnection(ledger_config(load_settings(installation.settings))))
    try:
        kinds = ("--stuck", "--missing-certificates", "--apply", "--yes", "--rate", str(max(20, len(wrong) / 40)))
        run = started(installation, tmp_path / "begun.log", *kinds)
        wait_until("the run is there", lambda: bool(store.list()), LIMIT)
        run_id = store.list()[0].run.run_id
        for number in range(KILLS):
            wait_for_more(run, store, run_id, random.randint(10, max(10, len(wrong) // 10)))
            killed(run)
            assert store.counts(run_id).settled < len(wrong)
            run = started(installation, tmp_path / f"resumed-{number}.log", "--resume", run_id)
        assert run.wait(LIMIT) == 0, run.told()
        counts = store.counts(run_id)
    finally:
        store.close()
    installation.wait_settled()
    assert (counts.open, counts.given_up) == (0, 0)

    again = subprocess.run(
        [COMMAND, "bulk", "--stuck", "--json"],
        env=installation.settings,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    )
    left: dict[str, Any] = json.loads(again.stdout)["before"]
    assert (left["found"], left["unjudged"]) == (0, len(hidden.unjudged))

    times_after = tables.all_write_times()
    changed = {it for it in before if times_after[it] != times[it]}
    expected = {key for key, reasons in hidden.expected.items() if CHANGES_ENROLMENT & set(reasons)}
    # one whose aggregates alone were wrong may have its progress written again
    assert expected <= written_ids(changed) <= wrong
    after = tables.all_enrolments()
    assert {it: row for it, row in after.items() if it not in changed} == {
        it: row for it, row in before.items() if it not in changed
    }
    assert of_others(tables.all_aggregates(), wrong) == of_others(aggregates, wrong)
    completed = {key for key, reasons in hidden.expected.items() if COMPLETES & set(reasons)}
    assert {(after[Learner(*_ids(key))]["status"]) for key in completed} == {2}
    lacking = {key for key, reasons in hidden.expected.items() if Reason.NO_CERTIFICATE in reasons}
    certificates = [(it.key, it.event) for it in installation.certificates.records()]
    mids = {event["mid"] for _, event in certificates}
    assert {_certified(event) for _, event in certificates} == completed | lacking
    # whatever was sent twice carries one id
    assert len(mids) == len(completed | lacking)
    audited = [it.event["actor"]["id"] for it in installation.audits.records()]
    assert sorted(set(audited)) == sorted({key.user_id for key in completed})
    assert installation.failed.records() == []


def wait_for_more(run: Process, store: RunStore, run_id: str, more: int) -> None:
    """Wait until so many requests more are submitted."""
    first = store.counts(run_id).submitted

    def has_more() -> bool:
        run.check_alive()
        return store.counts(run_id).submitted >= first + more

    wait_until(f"{more} more are submitted", has_more, LIMIT)


def _certified(event: dict[str, Any]) -> EnrolmentKey:
    edata = event["edata"]
    return EnrolmentKey(edata["userIds"][0], edata["courseId"], edata["batchId"])


def _ids(key: EnrolmentKey) -> tuple[str, str, str]:
    return key.user_id, key.course_id, key.batch_id
