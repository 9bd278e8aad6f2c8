"""`request`: the course service's event, sent for one learner or many and followed to its end."""

import json
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.ports import free_port
from reconciliation.requests import LONGEST_ID_BYTES
from tests.integration.commands.support import COMMAND, MEASURED, SETTINGS, enrol, give_course, ids, lines, run
from tests.integration.conftest import MakeInstallation
from tests.support.checks import check_announced_once
from tests.support.events import sync_event
from tests.support.installation import Installation, new_learner, unique
from tests.support.kafka import TopicReader, limit_messages
from tests.support.kafka_proxy import KafkaProxy, Question, produce_to
from tests.support.relay import Treatment
from tests.support.tables import Learner
from tests.support.waiting import wait_until

MID = re.compile(r"LP\.\d{13}\.[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def installation(make_installation: MakeInstallation) -> Iterator[Installation]:
    with make_installation(SETTINGS) as made:
        made.start()
        # before it is in its group, `request` warns that there is no bridge
        wait_until("the bridge reads", lambda: "partitions assigned" in made.bridge.output())
        yield made


@pytest.fixture
def idle(make_installation: MakeInstallation) -> Iterator[Installation]:
    """An installation of which nothing runs."""
    with make_installation(SETTINGS) as made:
        yield made


@pytest.fixture(scope="module")
def untouched(make_installation: MakeInstallation) -> Iterator[Installation]:
    """An installation of which nothing runs, and to which nobody sends anything."""
    with make_installation(SETTINGS) as made:
        yield made


@pytest.fixture(scope="module")
def nothing(untouched: Installation) -> Iterator[TopicReader]:
    """Reads what should not have been sent to it."""
    reader = TopicReader(untouched.ports.bootstrap, untouched.input_topic)
    yield reader
    reader.close()


@pytest.fixture
def requests(idle: Installation) -> Iterator[TopicReader]:
    reader = TopicReader(idle.ports.bootstrap, idle.input_topic)
    yield reader
    reader.close()


def test_one_request_is_sent_as_the_course_service_sends_it(idle: Installation, requests: TopicReader) -> None:
    learner = new_learner()
    out = idle.operate("request", *ids(learner))
    (record,) = requests.records()
    event = record.event
    expected = sync_event(learner)
    assert event == {**expected, "ets": event["ets"], "mid": event["mid"]}
    assert list(event) == list(expected)
    assert (record.key, record.headers) == (learner.user.encode(), {})
    assert MID.fullmatch(event["mid"])
    assert event["mid"] == f"LP.{event['ets']}.{event['mid'].split('.')[2]}"
    assert abs(event["ets"] - time.time() * 1000) < 60_000
    assert event["mid"] in out
    assert f"sent 1 to {idle.input_topic}" in out


def test_requests_are_followed_until_they_are_done_or_given_up(installation: Installation, tmp_path: Path) -> None:
    done, hopeless = [new_learner() for _ in range(3)], new_learner()
    enrol(installation, *done, hopeless)
    give_course(installation, *done)
    file = tmp_path / "learners.csv"
    rows = [f"{it.batch},,{it.user},{it.course}" for it in (*done, hopeless)]
    file.write_text("\n".join(["Batch,note,USER,course", *rows]), encoding="utf-8-sig")

    ended = installation.run_command("request", "--file", str(file), "--wait", "50", "--json")

    assert ended.returncode == 1
    assert ended.stderr == "error: of 4 requests 1 given up (mend what the reason says, then `replay`)\n"
    told = {it["user"]: it for it in lines(ended.stdout)}
    assert list(told) == [it.user for it in (*done, hopeless)]
    assert {told[it.user]["outcome"] for it in done} == {"done"}
    assert told[hopeless.user]["outcome"] == "given up"
    assert told[hopeless.user]["detail"].startswith("RELATIONS_MISSING: ")
    assert told[hopeless.user]["topic"] == installation.input_topic
    for learner in done:
        check_announced_once(installation, learner)

    # a table says the same, after the mids that are told as soon as they are sent
    ended = installation.run_command("request", *ids(hopeless), "--wait", "50")
    assert ended.returncode == 1
    assert "given up" in ended.stdout
    assert "of 1: 1 given up" in ended.stdout
    assert len(set(MID.findall(ended.stdout))) == 1


def test_clicks_that_join_an_earlier_one_end_with_it(make_installation: MakeInstallation, tmp_path: Path) -> None:
    # the first fails and waits for its next try; the others join it and are given up with it
    learner = new_learner()
    with make_installation({**SETTINGS, "RETRY_BACKOFF_FIRST": "15"}) as installation:
        enrol(installation.start(), learner)
        installation.send(learner)
        wait_until("its first try failed", lambda: installation.entry_fields("attempts") == ["1"])
        file = tmp_path / "learners.csv"
        file.write_text("user,course,batch\n" + f"{learner.user},{learner.course},{learner.batch}\n" * 4)
        ended = installation.run_command("request", "--file", str(file), "--wait", "50", "--json")
        assert ended.returncode == 1
        outcomes = [(it["outcome"], it["detail"]) for it in lines(ended.stdout)]
        assert {outcome for outcome, _ in outcomes} == {"given up"}
        assert all("RELATIONS_MISSING" in detail for _, detail in outcomes)
        assert any("same enrolment" in detail for _, detail in outcomes)
        installation.wait_settled()


def test_without_a_bridge_it_warns_at_once_and_says_where_requests_are(idle: Installation) -> None:
    learner = new_learner()
    ended = idle.run_command("request", *ids(learner), "--wait", "1", "--json")
    assert ended.returncode == 1
    assert f"nobody is in consumer group {idle.group_id} (kafka.groupId): no bridge runs" in ended.stderr
    assert "error: of 1 requests 1 had not ended after 1 s" in ended.stderr
    (told,) = lines(ended.stdout)
    assert told["outcome"] == "not taken yet"
    assert "the bridge has committed nothing" in told["detail"]
    assert "warning: nobody" not in idle.run_command("request", *ids(learner)).stderr


def test_without_a_worker_requests_are_told_to_be_open(idle: Installation) -> None:
    learner = new_learner()
    idle.bridge.start()
    # one that finds nobody in the group warns
    wait_until("it has joined its group", lambda: "partitions assigned" in idle.bridge.output())
    ended = wait_until(
        "a bridge took it",
        lambda: (
            (it := idle.run_command("request", *ids(learner), "--wait", "4", "--json"), "still open" in it.stdout)[1]
            and it
        ),
    )
    assert ended.returncode == 1
    assert "warning" not in ended.stderr
    (told,) = lines(ended.stdout)
    assert told["outcome"] == "still open"
    assert "waiting" in told["detail"]


def test_a_file_comes_through_a_pipe_as_well(idle: Installation, requests: TopicReader) -> None:
    content = 'user,batch,course\n"a ""b"", c",ü-1,課程\nbob,b2,do_2\n'.encode()
    ended = run(idle, "request", "--file", "-", "--json", stdin=content)
    assert ended.returncode == 0
    assert [(it["user"], it["course"], it["batch"]) for it in lines(ended.stdout)] == [
        ('a "b", c', "課程", "ü-1"),
        ("bob", "do_2", "b2"),
    ]
    assert sorted(record.key or b"" for record in requests.records()) == [b'a "b", c', b"bob"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"user,course\na,b\n", ["line 1: the header has no batch (it names user, course)"]),
        (b"user,course,batch\na,b,c\na, ,c\na,b\na,b,c\n", ["line 3: course is blank", "line 4: batch is missing"]),
        (b"user,course,batch\na,b,\xff\n", ["line 2: it is not UTF-8 at byte 5"]),
        (b'user,course,batch\n"a,b,c\n', ["line 2: unexpected end of data"]),
        (b"user,course,batch\n", ["nothing is sent: there is no line under the header"]),
        (b"", ["line 1: there is no header"]),
    ],
)
def test_nothing_is_sent_unless_every_line_is_good(
    untouched: Installation, nothing: TopicReader, content: bytes, told: list[str]
) -> None:
    ended = run(untouched, "request", "--file", "-", "--json", stdin=content)
    assert ended.returncode == 2
    assert ended.stdout == ""
    for line in told:
        assert line in ended.stderr
    assert "nothing is sent" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert nothing.records() == []


def test_a_thousand_bad_lines_are_told_briefly(untouched: Installation) -> None:
    ended = run(untouched, "request", "--file", "-", stdin=b"user,course,batch\n" + b"a,,c\n" * 1_000)
    assert "… and 980 more" in ended.stderr
    assert "1000 of 1000 lines are wrong" in ended.stderr
    assert len(ended.stderr.splitlines()) < 30


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--user", "u"),
        ("--user", "u", "--course", "c"),
        ("--user", "u", "--course", "c", "--batch", " "),
        ("--user", "u", "--course", "c", "--batch", "b", "--file", "-"),
        ("--file", "/no/such/file.csv"),
        ("--file", "/"),
    ],
)
def test_wrong_use_ends_with_2(untouched: Installation, nothing: TopicReader, arguments: tuple[str, ...]) -> None:
    ended = untouched.run_command("request", *arguments)
    assert ended.returncode == 2
    assert "Error: " in ended.stderr
    assert "Traceback" not in ended.stderr
    assert nothing.records() == []


def test_hostile_ids_are_sent_whole_and_shown_harmless(idle: Installation, requests: TopicReader) -> None:
    learner = Learner('u"\\\x1b[2J\u202e', "do_1\x07[bold]", "b\u2028 {x}")
    out = idle.operate("request", *ids(learner))
    assert "\x1b" not in out
    assert "\x07" not in out
    assert 'u"\\\\x1b[2J\\u202e' in out
    (record,) = requests.records()
    edata = record.event["edata"]
    assert (edata["userId"], edata["courseId"], edata["batchId"]) == learner.ids
    not_text = run(idle, "request", "--user", b"\xff".decode(errors="surrogateescape"), *ids(learner)[2:])
    assert not_text.returncode == 2
    assert "'--user': it is not UTF-8" in not_text.stderr
    assert len(requests.records()) == 1


def test_a_dry_run_sends_nothing_and_needs_no_kafka(idle: Installation, requests: TopicReader) -> None:
    away = {"KAFKA_BROKER_SERVERS": f"127.0.0.1:{free_port()}"}
    content = b"user,course,batch\na,b,c\nd,e,f\n"
    ended = run(idle, "request", "--file", "-", "--dry-run", stdin=content, settings=away)
    assert ended.returncode == 0
    assert f"2 would be sent to {idle.input_topic}" in ended.stdout
    ended = run(idle, "request", "--file", "-", "--dry-run", "--json", stdin=content, settings=away)
    assert lines(ended.stdout)[1] == {"user": "d", "course": "e", "batch": "f"}
    bad = run(idle, "request", "--file", "-", "--dry-run", stdin=b"user,course,batch\na,b,\n")
    assert bad.returncode == 2
    assert requests.records() == []


def test_a_kafka_that_is_away_is_told_in_one_line(idle: Installation) -> None:
    away = {"KAFKA_BROKER_SERVERS": f"127.0.0.1:{free_port()}", "KAFKA_TIMEOUT": "2"}
    began = time.monotonic()
    ended = idle.run_command("request", *ids(new_learner()), settings=away)
    assert ended.returncode == 3
    assert ended.stderr.count("\n") == 1
    assert "does not answer" in ended.stderr
    assert "kafka.broker-servers (KAFKA_BROKER_SERVERS)" in ended.stderr
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("wait", [(), ("--wait",)])
def test_a_kafka_that_takes_no_more_ends_it_with_the_count(
    idle: Installation, requests: TopicReader, wait: tuple[str, ...]
) -> None:
    content = b"user,course,batch\n" + b"".join(b"user-%d,c,b\n" % number for number in range(1_200))
    with KafkaProxy(idle.ports.kafka) as proxy:
        first: list[int] = []

        def later(question: Question) -> bool:
            # the first requests to produce go through
            if produce_to(idle.input_topic)(question):
                first.append(1)
                return len(first) > 3
            return False

        proxy.fault(Treatment.DROP_REQUEST, later)
        began = time.monotonic()
        settings = {"KAFKA_BROKER_SERVERS": proxy.bootstrap, "KAFKA_TIMEOUT": "10"}
        ended = run(idle, "request", "--file", "-", "--json", *wait, stdin=content, settings=settings)
        assert time.monotonic() - began < 90
    assert ended.returncode == 3
    assert ended.stderr.count("\n") == 1
    confirmed = [it["user"] for it in lines(ended.stdout)]
    assert f"; {len(confirmed)} of 1200 were sent and confirmed, and " in ended.stderr
    assert {user.encode() for user in confirmed} <= {record.key for record in requests.records()}


def test_a_request_too_large_for_the_topic_is_told(idle: Installation, requests: TopicReader) -> None:
    limit_messages(idle.ports.bootstrap, idle.input_topic, 1_000)
    user, course, batch = (random.Random(seed).randbytes(LONGEST_ID_BYTES // 2).hex() for seed in range(3))
    content = f"user,course,batch\n{user},{course},{batch}\n".encode()
    ended = run(idle, "request", "--file", "-", stdin=content)
    assert ended.returncode == 1
    assert "does not take an event of this size" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert requests.records() == []


def test_a_topic_that_is_not_there_is_told_in_one_line(idle: Installation) -> None:
    ended = idle.run_command("request", *ids(new_learner()), settings={"KAFKA_INPUT_TOPIC": "no.such.topic"})
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: kafka.input.topic (KAFKA_INPUT_TOPIC) is no.such.topic, but Kafka at ")
    assert ended.stderr.count("\n") == 1


def test_ctrl_c_while_it_waits_tells_how_far_it_is(idle: Installation) -> None:
    command = subprocess.Popen(
        [COMMAND, "request", *ids(new_learner()), "--wait", "60", "--json"],
        env=idle.settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert command.stderr is not None
    assert "no bridge runs" in command.stderr.readline()
    command.send_signal(signal.SIGINT)
    out, err = command.communicate(timeout=30)
    assert command.returncode == 1
    assert "1 had not ended when interrupted" in err
    assert lines(out)[0]["outcome"] == "not taken yet"


def test_a_hundred_thousand_lines_take_little_memory(idle: Installation, requests: TopicReader, tmp_path: Path) -> None:
    file = tmp_path / "many.csv"
    prefix = unique("user")
    with file.open("w") as written:
        written.write("user,course,batch\n")
        for number in range(100_000):
            written.write(f"{prefix}-{number},do_21310287978188800014457,0131029098223779842\n")
    ended = subprocess.run(
        [sys.executable, "-c", MEASURED, "request", "--file", str(file), "--json"],
        env=idle.settings,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    told = [json.loads(line)["user"] for line in ended.stdout.splitlines()]
    assert told == [f"{prefix}-{number}" for number in range(100_000)]
    kilobytes, _ = ended.stderr.split()[-2:]
    assert int(kilobytes) < 200_000
    assert len(requests.records()) == 100_000
