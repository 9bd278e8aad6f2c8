"""`bulk` from its selection to every row and event, with a real bridge and worker, on tables of its own."""

import csv
import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from devstack.cassandra import session
from devstack.ports import HOST
from devstack.schema import AggregateLayout
from devstack.stack import Stack
from tests.conftest import MakeKeyspace
from tests.integration.commands.support import COMMAND, run
from tests.integration.conftest import MakeInstallation
from tests.support.checks import check_announced_once
from tests.support.installation import Ended, Installation, new_learner, unique
from tests.support.processes import Process
from tests.support.relations import course_of_units
from tests.support.tables import Learner, Row
from tests.support.waiting import wait_until

LIMIT = 60.0
LONG_AGO_MS = 1_700_000_000_000
SETTINGS = {
    "RETRY_ATTEMPTS": "2",
    "RETRY_BACKOFF_FIRST": "0.1",
    "LEDGER_SWEEP_INTERVAL": "0.1",
}
UNIT = {"unit": {"a", "b"}}


@pytest.fixture(scope="module")
def installation(make_installation: MakeInstallation, make_keyspace: MakeKeyspace) -> Iterator[Installation]:
    """One that has its tables for itself: `bulk --stuck` looks at whoever is there."""
    # the scan is tried with both layouts in tests/bulk
    with make_installation(SETTINGS, keyspace=make_keyspace(AggregateLayout.USER_IN_CLUSTERING)) as made:
        yield made.start()


@pytest.fixture(autouse=True)
def empty(installation: Installation) -> None:
    installation.tables.empty()


def bulk(installation: Installation, *arguments: str, stdin: bytes = b"") -> Ended:
    return run(installation, "bulk", *arguments, stdin=stdin)


def told(installation: Installation, *arguments: str) -> dict[str, Any]:
    """Call `bulk --json`, which has to end well."""
    ended = bulk(installation, *arguments, "--json")
    assert ended.returncode == 0, ended.stderr
    document: dict[str, Any] = json.loads(ended.stdout)
    return document


def course(installation: Installation) -> str:
    name = unique("do")
    installation.relations.fill(course_of_units(name, UNIT))
    return name


def sound(installation: Installation, count: int, *, of: str | None = None) -> list[Learner]:
    """Learners of whom a reconciliation would change nothing: half-way, and with their aggregates."""
    learners = [new_learner(of or course(installation)) for _ in range(count)]
    installation.tables.add_consumption({it: {"a": 2, "b": 1} for it in learners})
    installation.tables.add_enrolments(learners, progress=1, contentstatus={"a": 2, "b": 1})
    for it in learners:
        for activity in (it.course, "unit"):
            installation.tables.add_aggregates(it, activity, {"completedCount": 1.0, "score:q": 7.0})
    return learners


def stuck(installation: Installation, count: int, *, of: str | None = None, **cells: object) -> list[Learner]:
    """Learners who have completed everything, and whose rows don't say so."""
    learners = [new_learner(of or course(installation)) for _ in range(count)]
    installation.tables.add_consumption({it: {"a": 2, "b": 2} for it in learners})
    installation.tables.add_enrolments(learners, **cells)
    return learners


def snapshot(installation: Installation, learners: Sequence[Learner]) -> dict[Learner, tuple[Row | None, Row, Any]]:
    """Give every cell of these learners, with the write times of the enrolment's."""
    tables = installation.tables
    return {it: (tables.enrolment(it), tables.write_times(it), tables.aggregates(it)) for it in learners}


def make_template(installation: Installation, *learners: Learner) -> None:
    """Give these learners' batches a certificate template."""
    with session(HOST, installation.ports.cassandra) as cql:
        cql.set_keyspace(installation.settings["LMS_CASSANDRA_KEYSPACE"])
        cql.execute(
            "CREATE TABLE IF NOT EXISTS course_batch (courseid text, batchid text, cert_templates map<text, "
            "frozen<map<text, text>>>, PRIMARY KEY (courseid, batchid))"
        )
        for it in learners:
            cql.execute(
                "INSERT INTO course_batch (courseid, batchid, cert_templates) VALUES (%s, %s, %s)",
                (it.course, it.batch, {"template-1": {"name": "Course completion"}}),
            )


def test_a_dry_run_tells_counts_and_each_difference_and_changes_nothing(
    installation: Installation, tmp_path: Path
) -> None:
    others, found = sound(installation, 6), stuck(installation, 4)
    late = stuck(installation, 1, status=2, progress=2, contentstatus={"a": 2, "b": 2})
    before = snapshot(installation, [*others, *found, *late])
    report = tmp_path / "stuck.csv"

    ended = bulk(installation, "--stuck", "--report", str(report))

    assert ended.returncode == 0, ended.stderr
    assert "5 enrolments were found, of 11 looked at" in ended.stdout
    assert "nothing was changed; --apply does it" in ended.stdout
    rows = [" ".join(line.split()).strip("│ ") for line in ended.stdout.splitlines()]
    assert "requirement met, not completed │ 4" in rows
    assert "completed, no completedon │ 1" in rows
    with report.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert sorted((it["user"], it["course"], it["batch"]) for it in lines) == sorted(it.ids for it in (*found, *late))
    of_one = next(it["changes"] for it in lines if it["user"] == found[0].user)
    assert of_one.startswith("status: 1 -> 2; completedon: nothing -> ")
    assert "completedCount of unit: nothing -> 2" in of_one
    assert snapshot(installation, [*others, *found, *late]) == before
    assert installation.open_count() == 0


def test_applied_it_heals_exactly_the_stuck_ones(installation: Installation) -> None:
    others, found = sound(installation, 8), stuck(installation, 12)
    no_time = stuck(installation, 2, status=2, progress=2, contentstatus={"a": 2, "b": 2})
    before = snapshot(installation, others)

    document = told(installation, "--stuck", "--apply", "--yes")

    assert document["state"] == "finished"
    assert {name: document[name] for name in ("submitted", "settled", "open", "given_up")} == {
        "submitted": 14,
        "settled": 14,
        "open": 0,
        "given_up": 0,
    }
    assert document["before"]["found"] == 14
    assert document["after"] == {"looked_at": 22, "found": 0, "unjudged": 0, "reasons": {}}
    assert snapshot(installation, others) == before
    for learner in (*found, *no_time):
        row = installation.tables.enrolment(learner)
        assert row is not None
        assert (row["status"], row["progress"], row["contentstatus"]) == (2, 2, {"a": 2, "b": 2})
        assert installation.tables.completed_counts(learner) == {learner.course: 2.0, "unit": 2.0}
        check_announced_once(installation, learner)
    assert not [it for learner in others for it in installation.announced(learner).certificates]
    (listed,) = [it for it in told(installation, "status")["runs"] if it["run"] == document["run"]]
    assert (listed["state"], listed["found"], listed["looked_at"]) == ("finished", 14, 22)


def test_a_batch_is_reconciled_whole_whoever_is_stuck(installation: Installation) -> None:
    of = course(installation)
    batch = unique("batch")
    in_batch = [Learner(unique("user"), of, batch) for _ in range(5)]
    done, half = in_batch[:2], in_batch[2:]
    elsewhere = stuck(installation, 3, of=of)
    installation.tables.add_consumption({it: {"a": 2, "b": 2} for it in done} | {it: {"a": 2} for it in half})
    installation.tables.add_enrolments(in_batch)

    dry = told(installation, "--batch", batch)
    assert (dry["before"]["found"], dry["applied"]) == (5, False)
    assert dry["before"]["reasons"]["requirement met, not completed"] == 2
    document = told(installation, "--batch", batch, "--course", of, "--apply", "--yes")

    assert document["submitted"] == 5
    assert document["after"]["reasons"] == {"selected": 5}
    assert [(installation.tables.enrolment(it) or {})["status"] for it in in_batch] == [2, 2, 1, 1, 1]
    assert [(installation.tables.enrolment(it) or {})["status"] for it in elsewhere] == [1, 1, 1]


def test_a_learner_s_enrolments_can_be_narrowed(installation: Installation) -> None:
    user = unique("user")
    mine = [Learner(user, course(installation), unique("batch")) for _ in range(4)]
    installation.tables.add_consumption({it: {"a": 2, "b": 2} for it in mine})
    installation.tables.add_enrolments(mine[:2])
    installation.tables.add_enrolments(mine[2:3], active=False)
    installation.tables.add_enrolments(mine[3:], status=2, completedon=LONG_AGO_MS)

    assert told(installation, "--user", user)["before"]["found"] == 4
    narrowed = told(installation, "--user", user, "--active-only", "--not-completed", "--apply", "--yes")

    assert narrowed["submitted"] == 2
    assert [(installation.tables.enrolment(it) or {})["status"] for it in mine] == [2, 2, 1, 2]


def test_a_report_is_a_file_that_can_be_applied(installation: Installation, tmp_path: Path) -> None:
    sound(installation, 3)
    found = stuck(installation, 3)
    report = tmp_path / "stuck.csv"
    assert bulk(installation, "--stuck", "--report", str(report)).returncode == 0
    with report.open("a", encoding="utf-8") as file:
        file.write("nobody,do_none,batch,,\n")

    document = told(installation, "--file", str(report), "--apply", "--yes")

    assert (document["submitted"], document["before"]["unjudged"], document["unjudged"]) == (3, 1, 1)
    assert [(installation.tables.enrolment(it) or {})["status"] for it in found] == [2, 2, 2]


def test_what_could_not_be_judged_is_told_without_a_count_afterwards(installation: Installation) -> None:
    (learner,) = stuck(installation, 1)
    lines = f"user,course,batch\n{','.join(learner.ids)}\nnobody,do_none,batch\n".encode()
    ended = bulk(installation, "--file", "-", "--stuck", "--apply", "--yes", "--no-recount", stdin=lines)
    assert ended.returncode == 0, ended.stderr
    assert "1 requests submitted" in ended.stdout
    assert "1 could not be judged" in ended.stdout


def test_a_run_that_stops_itself_tells_scripts_why(installation: Installation) -> None:
    learners = stuck(installation, 2)
    for it in learners:
        installation.relations.remove(it.course, it.course, "leafnodes")
    lines = "\n".join(["user,course,batch", *(",".join(it.ids) for it in learners)]).encode()
    arguments = ("--file", "-", "--apply", "--yes", "--most-given-up", "0", "--json")
    ended = bulk(installation, *arguments, stdin=lines)
    assert ended.returncode == 1
    document = json.loads(ended.stdout)
    assert (document["state"], document["submitted"]) == ("stopped", 2)
    assert "0 may be" in document["reason"]
    assert f"--resume {document['run']}" in document["reason"]
    assert document["before"]["found"] == 2


def test_an_operator_ends_a_run_that_waits_for_cassandra_and_goes_on_later(
    installation: Installation, stack: Stack, tmp_path: Path
) -> None:
    (learner,) = stuck(installation, 1)
    settings = {**installation.settings, "LMS_CASSANDRA_TIMEOUT": "1"}
    command = [COMMAND, "bulk", "--user", learner.user, "--stuck", "--apply", "--yes", "--json"]
    process = Process("bulk", command, settings, tmp_path / "bulk.log")
    cassandra = stack.server("cassandra")
    cassandra.stop()
    try:
        process.start()
        wait_until("the run waits for Cassandra", lambda: "waiting for Cassandra" in process.output(), LIMIT)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(LIMIT) == 1, process.told()
    finally:
        process.kill()
        cassandra.resume()
    wait_until("Cassandra answers again", cassandra.answers)
    output = process.output()
    assert "Traceback" not in output
    document = json.loads(output[output.index("{") : output.rindex("}") + 1])
    assert (document["state"], document["submitted"]) == ("interrupted", 0)
    assert f"bulk --resume {document['run']}` goes on" in output
    resumed = told(installation, "--resume", document["run"])
    assert (resumed["state"], resumed["submitted"], resumed["before"]["found"]) == ("finished", 1, 1)
    assert (installation.tables.enrolment(learner) or {})["status"] == 2


def answered(
    installation: Installation, answer: bytes, *options: str, stderr: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    """Have what is stuck done, and give this answer to the question, on a terminal."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer)
        return subprocess.run(
            [COMMAND, "bulk", "--stuck", "--apply", *options],
            env=installation.settings,
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("as_json", [False, True])
def test_the_question_never_goes_where_a_program_reads(installation: Installation, as_json: bool) -> None:
    stuck(installation, 1)
    ended = answered(installation, b"n\n", *(["--json"] if as_json else []))
    assert ended.returncode == 1
    assert "Have these 1 done?" in ended.stderr
    assert "Have these" not in ended.stdout
    if as_json:
        document = json.loads(ended.stdout)
        assert (document["applied"], document["before"]["found"]) == (False, 1)


def test_a_file_with_a_wrong_line_is_refused_whole(installation: Installation) -> None:
    (learner,) = stuck(installation, 1)
    lines = f"user,course,batch\n{','.join(learner.ids)}\n,do_1,b\n"
    ended = bulk(installation, "--file", "-", "--apply", "--yes", stdin=lines.encode())
    assert ended.returncode == 2
    assert "line 3: user is blank" in ended.stderr
    assert "nothing is done: 1 of 2 lines are wrong" in ended.stderr
    assert (installation.tables.enrolment(learner) or {})["status"] == 1


@pytest.mark.parametrize("reissue", [False, True])
def test_missing_certificates_get_their_event_and_nothing_else(installation: Installation, reissue: bool) -> None:
    cells: Mapping[str, object] = {"status": 2, "completedon": LONG_AGO_MS, "progress": 2, "contentstatus": {"a": 2}}
    lacking = stuck(installation, 3, issued_certificates=None, **cells)
    without_template = stuck(installation, 2, issued_certificates=None, **cells)
    having = stuck(installation, 2, **cells)
    fresh = stuck(installation, 1, issued_certificates=None, **{**cells, "completedon": int(time.time() * 1000)})
    everybody = [*lacking, *without_template, *having, *fresh]
    make_template(installation, *lacking, *having, *fresh)
    before = snapshot(installation, everybody)

    document = told(installation, "--missing-certificates", "--apply", "--yes", *(["--reissue"] if reissue else []))

    assert (document["certificates"], document["submitted"]) == (3, 0)
    assert told(installation, "status", document["run"])["certificates"] == 3
    assert "certificate events sent" in bulk(installation, "status", document["run"]).stdout
    for learner in lacking:
        announced = installation.announced(learner)
        (event,) = [it.event for it in announced.certificates]
        assert event["edata"]["reIssue"] is reissue
        assert event["mid"].startswith(f"LP.{LONG_AGO_MS}.")
        assert announced.audits == []
    assert not [it for learner in everybody[3:] for it in installation.announced(learner).certificates]
    assert snapshot(installation, everybody) == before


def test_without_a_terminal_it_does_nothing_that_nobody_agreed_to(installation: Installation) -> None:
    (learner,) = stuck(installation, 1)
    ended = bulk(installation, "--stuck", "--apply", stdin=b"y\n")
    assert ended.returncode == 2
    assert "give --yes as well" in ended.stderr
    assert (installation.tables.enrolment(learner) or {})["status"] == 1


@pytest.mark.parametrize(("answer", "status", "code"), [(b"y\n", 2, 0), (b"n\n", 1, 1)])
def test_on_a_terminal_it_shows_the_counts_and_asks(
    installation: Installation, answer: bytes, status: int, code: int
) -> None:
    (learner,) = stuck(installation, 1)
    ended = answered(installation, answer, stderr=subprocess.STDOUT)
    assert ended.returncode == code, ended.stdout
    shown = ended.stdout
    assert shown.index("1 enrolments were found") < shown.index("Have these 1 done?")
    assert (installation.tables.enrolment(learner) or {})["status"] == status


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "say which enrolments"),
        (["--active-only"], "say which enrolments"),
        (["--resume", "20260131-143005-none"], "there is no run"),
        (["--resume", "20260131-143005-none", "--stuck"], "goes on as it was begun"),
        (["--resume", "20260131-143005-none", "--most-given-up", "7"], "there is no run"),
        (["--stuck", "status"], "leave it out"),
        (["--stuck", "--report", "/nowhere/report.csv"], "No such file or directory"),
        (["--stuck", "--report", "report.txt"], "ends neither in .csv nor in .jsonl"),
        (["--batch", "b", "--rate", "0"], "--rate"),
        (["--user", ""], "'--user': it is blank"),
        (["--batch", " "], "'--batch': it is blank"),
        (["--stuck", "--course", ""], "'--course': it is blank"),
    ],
)
def test_a_wrong_call_is_told_in_a_line(installation: Installation, arguments: list[str], told: str) -> None:
    ended = bulk(installation, *arguments)
    assert ended.returncode in (1, 2)
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
