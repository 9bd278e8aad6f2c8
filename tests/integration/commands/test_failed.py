"""`failed`: what lies on the failed topic, whatever that is."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from random import Random

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType

from devstack.ports import free_port
from reconciliation.model import FinalFailure, Origin, OutgoingEvent, Record
from reconciliation.requests import REPEATED_HEADER
from tests.integration.commands.support import MEASURED, fail, ids, lines, publish
from tests.integration.conftest import MakeInstallation
from tests.support.events import encoded, sync_event
from tests.support.installation import Installation, new_learner
from tests.support.tables import Learner

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
REASONS = ("RELATIONS_MISSING", "REQUEST_FAILED", "WORKER_LOST")


@pytest.fixture
def idle(make_installation: MakeInstallation) -> Iterator[Installation]:
    with make_installation() as made:
        yield made


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def failures(installation: Installation, count: int, began_ms: int) -> list[OutgoingEvent]:
    """Failed events of three reasons, one a second, each of a learner of its own in one of three courses."""
    return [
        fail(
            installation,
            Record(
                Origin(installation.input_topic, 0, number, began_ms + number * 1000 - 60_000),
                f"user-{number}".encode(),
                encoded(sync_event(Learner(f"user-{number}", f"course-{number % 3}", "batch"))),
            ),
            FinalFailure(REASONS[number * number % 3], f"why {number}", number % 7, began_ms + number * 1000),
        )
        for number in range(count)
    ]


def test_ten_thousand_events_of_three_reasons_take_seconds_and_little_memory(idle: Installation) -> None:
    began_ms = now_ms() - 11_000_000
    publish(idle, failures(idle, 10_000, began_ms))
    ended = subprocess.run(
        [sys.executable, "-c", MEASURED, "failed", "--json"],
        env=idle.settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    counts = {reason: [n for n in range(10_000) if REASONS[n * n % 3] == reason] for reason in REASONS[:2]}
    assert told["events"] == 10_000
    assert told["reasons"] == [
        {
            "reason": reason,
            "events": len(counts[reason]),
            "oldest": began_ms + counts[reason][0] * 1000,
            "newest": began_ms + counts[reason][-1] * 1000,
        }
        for reason in sorted(counts, key=lambda reason: -len(counts[reason]))
    ]
    kilobytes, seconds = ended.stderr.split()[-2:]
    assert int(kilobytes) < 150_000
    assert float(seconds) < 10, "of processor time"

    asked_ms = now_ms()
    table = idle.operate("failed")
    told_ms = now_ms()
    assert "RELATIONS_MISSING │ 3334" in table
    assert "all               │ 10000" in table
    since = [3 * 60 + int(minutes) for minutes in re.findall(r"\(3 h (\d+) m ago\)", table)]
    assert (asked_ms - began_ms) // MINUTE_MS <= max(since) <= (told_ms - began_ms) // MINUTE_MS
    assert "the oldest of these is dropped from" in table
    assert "retention.ms is 7 d" in table

    listed = lines(idle.operate("failed", "--list", "--json", "--reason", "relations_missing", "--reason", "x"))
    assert len(listed) == 3334
    assert {it["reason"] for it in listed} == {"RELATIONS_MISSING"}
    (one,) = [it for it in listed if it["user"] == "user-9999"]
    place = one.pop("place")
    assert place["topic"] == idle.failed_topic
    assert 10_000_000 / 1000 > one.pop("ageSeconds") > 900
    assert one == {
        "reason": "RELATIONS_MISSING",
        "error": "why 9999",
        "attempts": 9999 % 7,
        "failedAt": began_ms + 9_999_000,
        "user": "user-9999",
        "course": "course-0",
        "batch": "batch",
        "original": {
            "topic": idle.input_topic,
            "partition": 0,
            "offset": 9999,
            "timestamp": began_ms + 9_999_000 - 60_000,
        },
        "firstSent": None,
        "carried": "fields",
        "start": "",
        "size": None,
    }


def test_events_are_picked_by_time_learner_course_and_batch(idle: Installation) -> None:
    began_ms = now_ms() - 3 * HOUR_MS
    publish(idle, failures(idle, 300, began_ms))
    learner = new_learner()
    record = Record(Origin(idle.input_topic, 1, 5, began_ms), learner.user.encode(), encoded(sync_event(learner)))
    publish(idle, [fail(idle, record, FinalFailure("REVOKED", "why", 1, now_ms() - HOUR_MS))])

    def listed(*arguments: str) -> list[str]:
        return sorted(it["user"] for it in lines(idle.operate("failed", "--list", "--json", *arguments)))

    assert listed(*ids(learner)) == [learner.user]
    assert listed("--course", learner.course) == [learner.user]
    assert listed("--batch", learner.batch) == [learner.user]
    assert listed("--user", learner.user, "--course", "course-0") == []
    assert listed("--since", "2h") == [learner.user]
    assert len(listed("--until", "2h")) == 300
    assert listed("--since", "5m") == []
    assert listed("--reason", "REVOKED") == [learner.user]
    assert len(listed("--course", "course-1")) == 100
    # the latest, the latest first
    latest = [it["user"] for it in lines(idle.operate("failed", "--list", "--json", "--limit", "3"))]
    assert latest == [learner.user, "user-299", "user-298"]
    table = idle.operate("failed", "--list", "--limit", "2")
    assert "the latest 2 of 301; --limit or --json give more" in table
    assert learner.user in table
    assert "user-298" not in table
    assert idle.operate("failed", "--user", "nobody") == f"{idle.failed_topic}: no event that fits\n"


def test_originals_that_are_no_json_object_are_shown_as_they_are(idle: Installation) -> None:
    random = Random(7)
    large = random.randbytes(300_000)
    failure = FinalFailure("INVALID_REQUEST", "the value is not JSON at character 0", 1, now_ms())
    values = [b"not json \x1b[2J", b"\xff\x00raw", None, large]
    publish(
        idle,
        [
            fail(idle, Record(Origin(idle.input_topic, 0, n, 1), b"key", value), failure, 200_000)
            for n, value in enumerate(values)
        ],
    )
    publish(idle, [OutgoingEvent(idle.failed_topic, None, b"somebody else's \xff")])
    again = Record(Origin(idle.input_topic, 0, 9, 1), b"key", b"again", ((REPEATED_HEADER, b'["some.topic",0,3,500]'),))
    publish(idle, [fail(idle, again, failure)])

    listed = {it["start"]: it for it in lines(idle.operate("failed", "--list", "--json"))}
    assert listed["not json \x1b[2J"]["carried"] == "text"
    assert listed["/wByYXc="]["carried"] == "bytes"
    assert (listed["again"]["original"]["offset"], listed["again"]["firstSent"]["offset"]) == (9, 3)
    (cut,) = [it for it in listed.values() if it["carried"] == "cut"]
    assert cut["size"] == 300_000

    table = idle.operate("failed", "--list")
    assert "as text: not json \\x1b[2J" in table
    assert "\x1b" not in table
    assert "as base64: /wByYXc=" in table
    assert "it had no value" in table
    assert "cut: 300000 bytes, and only the start is left" in table
    assert "(no failed event) │ 1 " in table
    assert "│ 0@9 (sent again) │" in table


def test_it_says_when_kafka_drops_the_oldest(idle: Installation) -> None:
    def keep(milliseconds: int) -> None:
        admin = AdminClient({"bootstrap.servers": idle.ports.bootstrap, "log_level": 0})
        entry = ConfigEntry("retention.ms", str(milliseconds), incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, idle.failed_topic, incremental_configs=[entry])
        admin.incremental_alter_configs([resource])[resource].result(20)

    publish(idle, failures(idle, 1, now_ms()))
    keep(-1)
    assert "the topic keeps them for ever" in idle.operate("failed")
    keep(2 * HOUR_MS)
    assert "on, in 1 h 59 m" in idle.operate("failed")
    (event,) = lines(idle.operate("failed", "--list", "--json"))
    summary = json.loads(idle.operate("failed", "--json"))
    assert summary["oldestIsDroppedFrom"] == event["place"]["timestamp"] + 2 * HOUR_MS
    keep(1)
    # Kafka looks only now and then; until then it is there. If it has just looked, it will not soon do so again
    while (told := idle.operate("failed")).endswith("no event\n"):
        publish(idle, failures(idle, 1, now_ms()))
    assert "may be dropped at any moment" in told


def test_an_empty_topic_and_one_that_is_missing(idle: Installation) -> None:
    assert idle.operate("failed") == f"{idle.failed_topic}: no event\n"
    assert json.loads(idle.operate("failed", "--json"))["events"] == 0
    assert idle.operate("failed", "--list", "--json") == ""
    ended = idle.run_command("failed", settings={"KAFKA_OUTPUT_FAILED_TOPIC": "no.such.topic"})
    assert ended.returncode == 2
    assert "kafka.output.failed.topic (KAFKA_OUTPUT_FAILED_TOPIC) is no.such.topic" in ended.stderr
    assert ended.stderr.count("\n") == 1
    ended = idle.run_command(
        "failed", settings={"KAFKA_BROKER_SERVERS": f"127.0.0.1:{free_port()}", "KAFKA_TIMEOUT": "1"}
    )
    assert (ended.returncode, ended.stderr.count("\n")) == (3, 1)
    assert idle.run_command("failed", "--since", "tomorrow").returncode == 2
