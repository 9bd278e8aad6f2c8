"""`trace`: from a mid to everything that it led to."""

import json
import os
import time
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from devstack.ports import free_port
from reconciliation.model import FinalFailure, Origin, OutgoingEvent, Record
from tests.integration.commands.support import SETTINGS, enrol, fail, give_course, ids, lines, publish
from tests.integration.conftest import MakeInstallation
from tests.support.events import encoded, sync_event
from tests.support.installation import Installation, new_learner, unique
from tests.support.tables import Learner
from tests.support.waiting import wait_until

#: Among how many records a mid is looked for, and how many of them a second of a processor has to be enough for.
RECORDS, LEAST_A_SECOND = 60_000, 5_000


@pytest.fixture(scope="module")
def installation(make_installation: MakeInstallation) -> Iterator[Installation]:
    with make_installation(SETTINGS) as made:
        yield made.start()


@pytest.fixture
def idle(make_installation: MakeInstallation) -> Iterator[Installation]:
    with make_installation(SETTINGS) as made:
        yield made


def ask(installation: Installation, learner: Learner, *more: str, code: int = 0) -> str:
    """Send a request by the command, and give its mid."""
    ended = installation.run_command("request", *ids(learner), "--json", *more)
    assert ended.returncode == code, ended.stderr
    return str(lines(ended.stdout)[0]["mid"])


def traced(installation: Installation, mid: str, *more: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(installation.operate("trace", mid, "--json", *more))
    return found


def test_a_completion_is_followed_to_its_row_and_its_events(installation: Installation) -> None:
    learner = new_learner()
    enrol(installation, learner)
    give_course(installation, learner)
    mid = ask(installation, learner, "--wait", "50")
    row = installation.tables.enrolment(learner)
    assert row is not None
    announced = installation.announced(learner)

    found = traced(installation, mid)
    (request,) = found["requests"]
    assert (request["stage"], request["repeated"], request["givenUp"]) == ("ended", False, None)
    assert request["enrolment"] == {
        "user_id": learner.user, "course_id": learner.course, "batch_id": learner.batch,
    }  # fmt: skip
    (enrolment,) = found["enrolments"]
    assert enrolment["row"] == {
        "status": 2,
        "progress": 1,
        "completed_on_ms": row["completedon"],
        "updated_ms": row["datetime"],
        "active": True,
    }
    aggregate = installation.tables.aggregates(learner)[learner.course]
    assert enrolment["aggregate"] == {
        "completed_count": 1.0, "updated_ms": aggregate["agg_last_updated"]["completedCount"],
    }  # fmt: skip
    certificate, audit = enrolment["announcements"]
    assert certificate["mid"] == announced.certificates[0].event["mid"]
    assert audit["mid"] == announced.audits[0].event["mid"]
    for event, topic in ((certificate, installation.certificate_topic), (audit, installation.audit_topic)):
        (place,) = event["places"]
        assert place["topic"] == topic
        # the product's producers put a key where librdkafka's own partitioner does
        assert place["partition"] == zlib.crc32(learner.user.encode()) % 2
    whats = [moment["what"] for moment in found["timeline"]]
    assert [what.split(":")[0].split(" LP.")[0] for what in whats] == [
        "requested",
        *sorted(
            ["course's aggregate written", "completed (completedon)", "enrolment written"],
            key=lambda what: {moment["what"].split(":")[0]: n for n, moment in enumerate(found["timeline"])}[what],
        ),
        "certificate event",
        "audit event",
    ]
    assert [moment["at_ms"] for moment in found["timeline"]] == sorted(m["at_ms"] for m in found["timeline"])
    assert "settled: the ledger no longer holds it; its row was written at " in found["statements"][0]

    shown = installation.operate("trace", mid)
    assert f"learner {learner.user}, course {learner.course}, batch {learner.batch}" in shown
    assert "its row was written at" in shown
    assert "its audit event is on" in shown

    # back from each of the events
    for event, kind in ((certificate, "certificate"), (audit, "audit")):
        back = traced(installation, event["mid"])
        assert (back["event"]["kind"], back["event"]["places"]) == (kind, event["places"])
        assert back["requests"] == found["requests"]
        assert back["enrolments"] == found["enrolments"]
        assert "event, which announces the completion that the row carries now" in "\n".join(back["statements"])

    # a later click finds it completed already
    again = traced(installation, ask(installation, learner, "--wait", "50"))
    assert "its row was completed already at" in again["statements"][0]
    assert len(traced(installation, certificate["mid"])["requests"]) == 2


def test_one_that_was_given_up_and_sent_again(installation: Installation) -> None:
    learner = new_learner()
    enrol(installation, learner)
    mid = ask(installation, learner, "--wait", "50", code=1)
    found = traced(installation, mid)
    (request,) = found["requests"]
    assert request["givenUp"]["reason"] == "RELATIONS_MISSING"
    assert request["givenUp"]["attempts"] == 2
    assert request["givenUp"]["place"]["topic"] == installation.failed_topic
    assert " as RELATIONS_MISSING: " in found["statements"][0]
    assert found["enrolments"][0]["row"]["status"] == 1
    assert found["enrolments"][0]["announcements"] == []

    give_course(installation, learner)
    installation.operate("replay", *ids(learner), "--yes")
    installation.wait_settled()
    first, second = traced(installation, mid)["requests"]
    assert (first["repeated"], first["givenUp"]["reason"]) == (False, "RELATIONS_MISSING")
    assert (second["repeated"], second["givenUp"], second["stage"]) == (True, None, "ended")
    assert second["firstSent"] == first["place"]["timestamp_ms"]
    shown = installation.operate("trace", mid)
    assert "sent again" in shown
    assert shown.index("given up: RELATIONS_MISSING") < shown.index("sent again")


def test_open_joined_and_not_taken_are_told_apart(idle: Installation) -> None:
    learner = new_learner()
    mids = [ask(idle, learner) for _ in range(2)]
    waiting = traced(idle, mids[0])
    assert waiting["requests"][0]["stage"] == "on_kafka"
    assert "not taken yet" in waiting["statements"][0]
    idle.bridge.start()
    idle.wait_accepted()
    (first,), (second,) = (traced(idle, mid)["requests"] for mid in mids)
    assert (first["stage"], second["stage"]) == ("open", "joined")
    assert first["entry"] == second["entry"]
    assert first["entry"]["state"] == "waiting"
    assert first["entry"]["origin"]["offset"] == first["place"]["offset"]
    line = traced(idle, mids[1])["statements"][0]
    assert f"joined the earlier request at {idle.input_topic}/" in line
    assert "taken in as entry" in idle.operate("trace", mids[0])


def test_requests_that_fail_meanwhile_say_why_they_wait(make_installation: MakeInstallation) -> None:
    with make_installation({"RETRY_BACKOFF_FIRST": "60", "LEDGER_SWEEP_INTERVAL": "0.1"}) as site:
        site.start()
        learner = new_learner()
        enrol(site, learner)
        mid = ask(site, learner)
        wait_until("it has failed once", lambda: site.entry_fields("attempts") == ["1"])
        (request,) = traced(site, mid)["requests"]
        assert request["entry"]["attempts"] == 1
        assert request["entry"]["reason"].startswith("RELATIONS_MISSING: ")
        assert request["entry"]["due_ms"] > time.time() * 1000 + 20_000
        assert "open: waiting; 1 attempt; RELATIONS_MISSING: " in site.operate("trace", mid)


def test_records_that_are_no_requests_are_told_as_such(installation: Installation) -> None:
    mid = unique("LP.1")
    learner = new_learner()
    other = encoded({**sync_event(learner, action="other"), "mid": mid})
    blank = encoded({**sync_event(learner, userId=" "), "mid": mid})
    broken = b"not json, but it holds " + mid.encode()
    inside = encoded({**sync_event(learner), "mid": "another", "note": mid})
    installation.send_records([(b"k", value) for value in (other, blank, broken, inside)])
    wait_until("two are given up", lambda: len([it for it in installation.failed.records() if it.key == b"k"]) == 2)
    found = traced(installation, mid)
    told = sorted(
        (it["problem"], None if it["givenUp"] is None else it["givenUp"]["reason"]) for it in found["requests"]
    )
    assert told == [
        ("edata.action is not user-enrolment-sync", None),
        ("edata.userId is blank", "INVALID_REQUEST"),
        ("the value is not JSON at character 0", "INVALID_REQUEST"),
    ]
    assert found["enrolments"] == []


def _processor_seconds() -> float:
    """What the commands that ended have taken, which the machine's other work does not change."""
    used = os.times()
    return used.children_user + used.children_system


def test_a_mid_among_many_records_is_found_quickly(idle: Installation) -> None:
    learner = new_learner()
    ours = encoded({**sync_event(learner), "mid": "LP.77.wanted"})

    def many() -> Iterator[OutgoingEvent]:
        for number in range(RECORDS):
            value = encoded(sync_event(learner)) if number % 1000 == 0 else b'{"mid":"LP.%d.x","edata":{}}' % number
            yield OutgoingEvent(idle.input_topic, b"%d" % number, value)
        yield OutgoingEvent(idle.input_topic, learner.user.encode(), ours)

    publish(idle, many())
    before = _processor_seconds()
    found = traced(idle, "LP.77.wanted")
    assert [it["stage"] for it in found["requests"]] == ["on_kafka"]
    assert RECORDS / (_processor_seconds() - before) > LEAST_A_SECOND
    # one that nobody sent is told as such, with the moment from which on was looked
    ended = idle.run_command("trace", "LP.77.nobody", "--since", "1h")
    assert ended.returncode == 1
    assert ended.stderr.startswith(
        f"error: nothing on {idle.input_topic} or {idle.certificate_topic} carries LP.77.nobody"
    )
    assert "try an earlier --since" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_of_many_with_one_mid_the_latest_are_followed(idle: Installation) -> None:
    learner = new_learner()
    value = encoded({**sync_event(learner), "mid": "LP.1.many"})
    for _ in range(2):
        idle.send_records([(b"%d" % number, value) for number in range(15)])
    found = traced(idle, "LP.1.many")
    assert (len(found["requests"]), found["earlierRequests"]) == (20, 10)
    times = [request["place"]["timestamp_ms"] for request in found["requests"]]
    assert times == sorted(times)
    assert "10 earlier records were found too; only the latest are followed" in idle.operate("trace", "LP.1.many")


def test_what_is_older_than_asked_for_is_not_looked_at(idle: Installation) -> None:
    mid = ask(idle, new_learner())
    wait_until("some seconds are over", lambda: idle.run_command("trace", mid, "--since", "1s").returncode == 1)
    assert traced(idle, mid)["requests"]


@pytest.mark.parametrize("mid", ["\x1b[2J", '"', "\\", "ü課", "LP.AUDIT.x\u202e", "a b", "LP.1.\udcff"])
def test_hostile_mids_are_looked_for_and_shown_harmless(idle: Installation, mid: str) -> None:
    ended = idle.run_command("trace", mid)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: nothing on ")
    assert "\x1b" not in ended.stderr
    assert ended.stderr.count("\n") == 1
    if "\udcff" not in mid:
        learner = Learner('u"\x1b', "c\\", "b\u2028")
        idle.send_records([(b"k", encoded({**sync_event(learner), "mid": mid}))])
        if not mid.startswith("LP.AUDIT."):
            found = traced(idle, mid)
            assert found["requests"][0]["enrolment"]["user_id"] == learner.user
            assert "\x1b" not in idle.operate("trace", mid)


def test_wrong_use_and_servers_that_are_away(idle: Installation) -> None:
    assert idle.run_command("trace").returncode == 2
    assert idle.run_command("trace", " ").returncode == 2
    assert idle.run_command("trace", "x", "--since", "soon").returncode == 2
    mid = ask(idle, new_learner())
    port = str(free_port())
    for settings, words in (
        ({"KAFKA_BROKER_SERVERS": f"127.0.0.1:{port}", "KAFKA_TIMEOUT": "1"}, "KAFKA_BROKER_SERVERS"),
        ({"LEDGER_REDIS_URL": f"redis://127.0.0.1:{port}/0"}, "LEDGER_REDIS_URL"),
        ({"LMS_CASSANDRA_PORT": port, "LMS_CASSANDRA_TIMEOUT": "1"}, "LMS_CASSANDRA_PORT"),
    ):
        ended = idle.run_command("trace", mid, settings=settings)
        assert (ended.returncode, ended.stderr.count("\n")) == (3, 1), ended.stderr
        assert words in ended.stderr


def test_an_invalid_record_s_failure_is_found_by_its_place_alone(idle: Installation) -> None:
    mid = unique("LP.2")
    value = b"broken " + mid.encode()
    (sent,) = idle.send_records([(b"k", value)])
    origin = Origin(idle.input_topic, sent.partition, sent.offset, sent.timestamp_ms)
    event = fail(idle, Record(origin, b"k", value), FinalFailure("INVALID_REQUEST", "why", 1, sent.timestamp_ms + 5))
    # its key was given up too, for want of room
    publish(idle, [OutgoingEvent(event.topic, None, event.value, event.headers)])
    (request,) = traced(idle, mid)["requests"]
    assert request["givenUp"]["reason"] == "INVALID_REQUEST"
