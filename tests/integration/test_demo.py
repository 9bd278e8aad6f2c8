"""The demonstration as a newcomer runs it: what it shows, what it refuses to hide, and what it leaves behind."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
import redis
from confluent_kafka.admin import AdminClient

from demo.check import Result, expected_counts, unmet
from demo.kafka import Event
from demo.learners import LEARNERS, Enrolment
from demo.requests import FORGETFUL_USER
from demo.rows import Rows
from devstack.cassandra import session
from devstack.ports import HOST, different_ports
from devstack.stack import Stack
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 180


@pytest.fixture
def variables(stack: Stack) -> Iterator[dict[str, str]]:
    """Makes the demonstration use the tests' own servers."""
    yield {
        "PATH": os.environ["PATH"],
        "DEVSTACK_DIR": str(stack.directory),
        "DEVSTACK_KAFKA_PORT": str(stack.ports.kafka),
        "DEVSTACK_CASSANDRA_PORT": str(stack.ports.cassandra),
        "DEVSTACK_REDIS_PORT": str(stack.ports.redis),
        # settings of the reader's shell must not reach the parts
        "KAFKA_GROUPID": "somebody-elses-group",
        "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
    }
    demo("stop", variables={"PATH": os.environ["PATH"], "DEVSTACK_DIR": str(stack.directory)})


def demo(*arguments: str, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "demo", *arguments],
        cwd=ROOT,
        env=dict(variables),
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )


def processes_of(environment: str) -> list[str]:
    """Find every process that has this value of ENV."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        try:
            if process.environ().get("ENV") == environment:
                found.append(f"{process.info['pid']} {process.info['cmdline']}")
        except psutil.Error:
            continue
    return found


def assert_nothing_left(stack: Stack, environment: str) -> None:
    assert processes_of(environment) == []
    topics = AdminClient({"bootstrap.servers": stack.ports.bootstrap}).list_topics(timeout=20).topics
    assert [name for name in topics if name.startswith(environment)] == []
    with session(HOST, stack.ports.cassandra) as connected:
        keyspaces = {
            row.keyspace_name for row in connected.execute("SELECT keyspace_name FROM system_schema.keyspaces")
        }
    assert "sunbird_" + environment.replace("-", "_") not in keyspaces
    with redis.Redis(host=HOST, port=stack.ports.redis) as client:
        assert list(client.scan_iter(match=f"*{environment}*")) == []
    assert all(server.answers for server in stack.status()), "the servers ran before and must go on"


def environment_in(text: str) -> str:
    found = re.search(r"demo-[0-9a-f]{4}", text)
    assert found, text
    return found[0]


def test_a_run_shows_every_step_and_leaves_nothing_behind(stack: Stack, variables: dict[str, str]) -> None:
    ended = demo(variables=variables)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    assert "\x1b" not in ended.stdout
    assert [line for line in ended.stdout.splitlines() if len(line) > 80] == []
    lines = [" ".join(line.split()) for line in ended.stdout.splitlines()]
    today = r"today \d\d:\d\d"
    for expected in (
        r"✓ [\d.]+ s Servers Kafka, Cassandra and Redis ran already, and will stay",
        r"✓ [\d.]+ s Data 39 learners in 4 courses \(365 rows, 35 relation sets\)",
        r"✓ [\d.]+ s Parts bridge, 2 workers and Flower are ready",
        r"✓ [\d.]+ s Requests 45 of 45 settled, 27 events came out",
        r"Example 1 known: no row, 2 of 3 no row no row - -",
        rf"Example 2 known: 3 of 3 null → 3 1 → 2 {today} yes",
        rf"Hema complete, still at 1 10 → 12 1 → 2 {today} yes",
        rf"Kavita impatient: 5 clicks 12 1 → 2 {today} yes",
        r"Wahida fell back 8 → 5 1 - -",
        r"Anil already completed 12 2 2026-01-12 -",
        r"Lakshmi course is retired 0 1 - -",
        r"do_2140007312 Counting and place value 3.0 4",
        r"key 7d0f2c52-3a43-4f0b-9f3b-6a1f0c6e2d11",
        r"requests 45 sent, 45 settled, in [\d.]+ s",
        r"done 43, for 39 learners",
        r"skipped 1 \(another action: not ours\)",
        r"failed 1 \(INVALID_REQUEST: edata.courseId .*\)",
        r"events 13 certificate, 13 audit, 1 failed",
        r"✓ every row and every event is as it must be",
        r"Flower was at http://127.0.0.1:\d+ and has ended with the rest\.",
    ):
        assert any(re.fullmatch(expected, line) for line in lines), f"{expected}\n{ended.stdout}"
    assert_nothing_left(stack, environment_in(ended.stdout))


def test_keep_leaves_it_running_until_stop(stack: Stack, variables: dict[str, str]) -> None:
    kept = demo(variables={**variables, "KEEP": "1"})

    assert kept.returncode == 0, kept.stdout + kept.stderr
    environment = environment_in(kept.stdout)
    assert "`make demo-stop` ends it." in kept.stdout
    shown = set(re.findall(r"process (\d+) +127\.0\.0\.1:\d+$", kept.stdout, re.MULTILINE))
    assert len(shown) == 5
    assert shown <= {line.split()[0] for line in processes_of(environment)}

    second = demo(variables=variables)
    assert second.returncode == 1
    assert second.stderr == (
        f"demo: A demonstration is still running ({environment})."
        " Next step: `make demo-stop` ends it; then start again.\n"
    )

    stopped = demo("stop", variables=variables)
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert_nothing_left(stack, environment)
    assert demo("stop", variables=variables).stdout == "No demonstration is running.\n"


def test_an_interrupted_run_ends_what_it_started(stack: Stack, variables: dict[str, str]) -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "demo"],
        cwd=ROOT,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    notes = stack.directory / "demo" / "run.json"
    try:
        wait_until("the bridge to be started", lambda: notes.exists() and '"bridge"' in notes.read_text(), 60)
        environment = f"demo-{json.loads(notes.read_text())['suffix']}"
        running.send_signal(signal.SIGINT)
        output, errors = running.communicate(timeout=90)
    finally:
        running.kill()
        running.wait(10)
    assert running.returncode == 130, output + errors
    assert errors == "demo: interrupted; everything that it started is ended.\n"
    assert_nothing_left(stack, environment)


def test_a_port_that_is_taken_is_told_in_one_line(tmp_path: Path) -> None:
    kafka_port, cassandra_port = different_ports(2)
    with socket.create_server((HOST, 0)) as taken:
        redis_port = taken.getsockname()[1]
        ended = demo(
            variables={
                "PATH": os.environ["PATH"],
                "DEVSTACK_DIR": str(tmp_path),
                "DEVSTACK_REDIS_PORT": str(redis_port),
                "DEVSTACK_KAFKA_PORT": str(kafka_port),
                "DEVSTACK_CASSANDRA_PORT": str(cassandra_port),
            }
        )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"demo: redis: port {redis_port} on 127.0.0.1 is taken by ")
    assert "Next step: End that process, or choose another port: DEVSTACK_REDIS_PORT" in line
    assert not any(server.pid for server in Stack(tmp_path).servers.values())


def test_a_port_that_is_none_is_told_in_one_line(tmp_path: Path) -> None:
    ended = demo(
        variables={"PATH": os.environ["PATH"], "DEVSTACK_DIR": str(tmp_path), "DEVSTACK_KAFKA_PORT": "seventeen"}
    )
    assert ended.returncode == 1
    assert ended.stderr == (
        "demo: kafka: DEVSTACK_KAFKA_PORT is 'seventeen', not a port number."
        " Next step: Set DEVSTACK_KAFKA_PORT to 1 to 65535.\n"
    )


def test_a_folder_that_cannot_be_made_is_told_in_one_line() -> None:
    ended = demo(variables={"PATH": os.environ["PATH"], "DEVSTACK_DIR": "/dev/null/servers"})
    assert ended.returncode == 1
    assert ended.stderr == (
        "demo: [Errno 20] Not a directory: '/dev/null/servers/demo'."
        " Next step: Choose a folder that can be written: DEVSTACK_DIR=…\n"
    )


def test_the_supervisor_starts_its_command_again_until_it_is_told_to_end(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    command = f'echo $$ >> "{starts}"; exec sleep 300'
    supervisor = subprocess.Popen(
        [sys.executable, "-m", "demo.supervisor", "sh", "-c", command], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    try:

        def pids() -> list[int]:
            return [int(line) for line in starts.read_text().split()] if starts.exists() else []

        wait_until("the first start", lambda: len(pids()) == 1)
        os.kill(pids()[0], signal.SIGKILL)
        wait_until("the second start", lambda: len(pids()) == 2)
        supervisor.terminate()
        assert supervisor.wait(20) == 128 + signal.SIGTERM
        assert not psutil.pid_exists(pids()[1])
    finally:
        supervisor.kill()
        supervisor.wait(10)


def perfect() -> Result:
    """What a run must come to."""
    now = datetime.now(UTC)
    rows = []
    for learner in LEARNERS:
        enrolment = learner.expected.enrolment
        if enrolment is not None:
            old = learner.before.completed_on if learner.before else None
            enrolment = replace(enrolment, completed_on=now if learner.expected.certificate else old)
        rows.append(Rows(enrolment, expected_counts(learner)))
    announced = [learner.user_id for learner in LEARNERS if learner.expected.certificate]
    events = [Event("t", 0, 0, user_id, {"mid": user_id, "edata": {"userIds": [user_id]}}) for user_id in announced]
    failure = Event("t", 0, 0, FORGETFUL_USER, {"failInfo": {"errorCode": "INVALID_REQUEST", "error": "…"}})
    return Result(45, 45, 1, 1.0, now, rows, events, events, [failure])


def test_the_known_examples_are_expected_as_documented() -> None:
    first, second = (next(it for it in LEARNERS if it.name == f"Example {number}") for number in (1, 2))
    assert expected_counts(first) == {
        "do_1127212344324751361295": 2.0,
        "do_course_unit1": 1.0,
        "do_course_unit2": 1.0,
        "do_course_unit3": 1.0,
    }
    assert expected_counts(second) == {"course001": 3.0, "unit1": 2.0, "unit2": 2.0}


def test_whatever_is_not_as_it_must_be_is_told() -> None:
    good = perfect()
    assert unmet(LEARNERS, good) == []

    at = next(number for number, it in enumerate(LEARNERS) if it.name == "Hema")
    stuck = [*good.rows[:at], Rows(Enrolment(12, 1), good.rows[at].aggregates), *good.rows[at + 1 :]]
    uncounted = [*good.rows[:at], Rows(good.rows[at].enrolment, {}), *good.rows[at + 1 :]]
    stray = Event("t", 0, 0, LEARNERS[0].user_id, {"mid": "new", "edata": {"userIds": [LEARNERS[0].user_id]}})
    repeated = Event("t", 0, 0, good.audits[0].key, {"mid": "another"})
    for changed, told in (
        (replace(good, rows=stuck), "Hema (complete, still at 1): progress 12, status 1 instead of 12, 2"),
        (replace(good, rows=uncounted), "Hema (complete, still at 1): aggregates {} instead of"),
        (replace(good, certificates=good.certificates[1:]), "Hema: 1 certificate event(s) too few"),
        (replace(good, certificates=[*good.certificates, stray]), "Asha: 1 certificate event(s) too many"),
        (replace(good, audits=[*good.audits, repeated]), "Hema: 1 audit event(s) too many"),
        (replace(good, failures=[]), "the failed topic holds nothing instead of"),
        (replace(good, settled=44), "44 of 45 requests are settled"),
        (replace(good, skipped=0), "44 requests done and 0 skipped instead of 43 and 1"),
    ):
        assert any(line.startswith(told) for line in unmet(LEARNERS, changed)), unmet(LEARNERS, changed)
