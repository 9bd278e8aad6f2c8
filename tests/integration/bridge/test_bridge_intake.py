"""What becomes of records: entries and messages, skips, failed events, and the offsets that are committed."""

import base64
import json
import urllib.request
from collections import Counter
from dataclasses import replace

import pytest

from devstack.ports import HOST
from tests.integration.bridge.conftest import MakeStand
from tests.integration.bridge.harness import BridgeStand, learners
from tests.support.events import encoded, sync_event
from tests.support.waiting import wait_until

OTHER_ACTION = encoded({"edata": {"action": "something-else"}})


def test_requests_become_entries_and_grouped_messages_without_personal_ids(make_stand: MakeStand) -> None:
    stand = make_stand(BRIDGE_GROUP_SIZE="25")
    who = learners(60)
    sent = stand.send(*who)
    stand.bridge()
    stand.wait_committed()

    entries = stand.entries()
    assert set(entries) == {stand.entry_id(place) for place in sent}
    assert all(entry["state"] == "waiting" for entry in entries.values())
    messages = stand.messages()
    tickets = [ticket for message in messages for ticket in message.tickets]
    assert sorted(tickets) == sorted((entry_id, 1) for entry_id in entries)
    assert max(len(message.tickets) for message in messages) <= 25
    assert len(messages) < 10
    for message in messages:
        assert message.task == "tasks.reconcile"
        assert b"learner-" not in message.raw
        assert b"batch-1" not in message.raw
        # what Flower shows: how many, and of which course
        count = f"{len(message.tickets)} request{'' if len(message.tickets) == 1 else 's'}"
        assert f'"argsrepr": "{count} (do_course)"'.encode() in message.raw
        if len(message.tickets) == 1:
            assert message.task_id == message.tickets[0][0]


def test_messages_carry_requests_of_the_same_course_together(make_stand: MakeStand) -> None:
    stand = make_stand(BRIDGE_GROUP_SIZE="10")
    courses = [f"do_{number}" for number in range(4)]
    stand.send(*(replace(learner, course=courses[at % 4]) for at, learner in enumerate(learners(60))))
    stand.bridge()
    stand.wait_committed()

    course_of = {entry_id: json.loads(entry["enrolment"])[1] for entry_id, entry in stand.entries().items()}
    carried = [[course_of[entry_id] for entry_id, _ in message.tickets] for message in stand.messages()]
    assert sorted(course for group in carried for course in group) == sorted(courses * 15)
    for group in carried:
        assert group == sorted(group)


def test_a_single_request_travels_under_its_own_id(make_stand: MakeStand) -> None:
    stand = make_stand(BRIDGE_GROUP_SIZE="1")
    sent = stand.send(*learners(3))
    stand.bridge()
    stand.wait_committed()
    assert sorted(message.task_id for message in stand.messages()) == sorted(stand.entry_id(place) for place in sent)


def test_repeats_of_one_enrolment_collapse(stand: BridgeStand) -> None:
    (learner,) = learners(1)
    stand.send(*[learner] * 20)
    stand.bridge()
    stand.wait_committed()
    assert stand.open_count() == 20
    assert len(stand.entries()) <= 2  # one a partition at most: the key-less sends may go to both
    assert sum(len(message.tickets) for message in stand.messages()) == len(stand.entries())


def test_other_actions_are_skipped_and_counted(make_stand: MakeStand) -> None:
    stand = make_stand()
    stand.send_values(*[OTHER_ACTION] * 30)
    stand.send(*learners(5))
    stand.bridge(METRICS_BRIDGE_PORT=str(stand.metrics_port))
    stand.wait_committed()

    assert stand.open_count() == 5
    assert stand.failed.records() == []

    def counted() -> dict[str, float]:
        with urllib.request.urlopen(f"http://{HOST}:{stand.metrics_port}/metrics", timeout=20) as answer:
            lines = [line.split() for line in answer.read().decode().splitlines() if not line.startswith("#")]
        return {name.removeprefix("enrolment_reconciliation_"): float(value) for name, value in lines}

    def looked() -> dict[str, float] | None:
        found = counted()
        return found if (found["open_requests"], found["bridge_lag"]) == (5, 0) else None

    metrics = wait_until("the open requests are counted", looked)
    assert metrics["total_events_count_total"] == 35
    assert metrics["skipped_events_count_total"] == 30
    assert metrics["failed_events_count_total"] == 0
    assert metrics["bridge_paused"] == 0


def test_what_cannot_be_a_request_goes_to_the_failed_topic(stand: BridgeStand) -> None:
    (learner,) = learners(1)
    (sent,) = stand.send_values(encoded(sync_event(learner, userId=None)), key=b"a key")
    stand.bridge(METRICS_BRIDGE_PORT=str(stand.metrics_port))
    stand.wait_committed()

    (failed,) = stand.failed.records()
    assert failed.key == b"a key"
    assert failed.headers["original-topic"] == stand.input_topic.encode()
    assert failed.headers["original-partition"] == str(sent.partition).encode()
    assert failed.headers["original-offset"] == str(sent.offset).encode()
    assert failed.headers["original-timestamp"] == str(sent.timestamp_ms).encode()
    event = failed.event
    assert event["jobName"] == "enrolment-reconciliation"
    assert event["edata"] == sync_event(learner, userId=None)["edata"]
    assert event["failInfo"]["errorCode"] == "INVALID_REQUEST"
    assert event["failInfo"]["attempts"] == 1
    assert "userId" in event["failInfo"]["error"]
    assert stand.entries() == {}
    with urllib.request.urlopen(f"http://{HOST}:{stand.metrics_port}/metrics", timeout=20) as answer:
        assert b"failed_events_count_total 1.0" in answer.read()


@pytest.mark.parametrize("value", [None, b"", b"\xff\xfe", b"[1]", b"{", b'{"edata":NaN}', b"[" * 100_000])
def test_any_bytes_reach_the_failed_topic(stand: BridgeStand, value: bytes | None) -> None:
    stand.send_values(value)
    stand.bridge()
    stand.wait_committed()
    (failed,) = stand.failed.records()
    carried = failed.event["failInfo"]
    if value is None:
        assert "event" not in carried
        assert "eventBase64" not in carried
    elif value == b"\xff\xfe":
        assert base64.b64decode(carried["eventBase64"]) == value
    else:
        assert carried["event"].encode() == value


def test_what_is_too_large_for_the_failed_topic_is_cut(stand: BridgeStand) -> None:
    stand.send_values(b"\xff" * 950_000)
    stand.send(*learners(1))
    stand.bridge()
    stand.wait_committed()
    (failed,) = stand.failed.records()
    assert failed.event["failInfo"]["size"] == 950_000
    assert stand.open_count() == 1


def test_a_flood_of_garbage_holds_nobody_up(stand: BridgeStand) -> None:
    garbage = [b"garbage %d" % number for number in range(2_000)]
    places = stand.send_values(*garbage)
    sent = stand.send(*learners(3))
    stand.bridge()
    stand.wait_committed()

    carried = Counter(record.event["failInfo"]["event"].encode() for record in stand.failed.records())
    assert carried == Counter(garbage)
    assert len(places) == 2_000
    assert set(stand.entries()) == {stand.entry_id(place) for place in sent}


def test_commits_say_how_far_to_go_back(stand: BridgeStand) -> None:
    sent = stand.send(*learners(20))
    stand.bridge()
    stand.wait_committed()
    epoch = stand.redis.get(stand.ledger_prefix + "epoch").decode()
    run_id = stand.redis.info("server")["run_id"]
    commits = stand.commits()
    for partition in {place.partition for place in sent}:
        offset, mark = commits[partition]
        assert offset == 1 + max(place.offset for place in sent if place.partition == partition)
        assert mark == {"v": 1, "epoch": epoch, "run": run_id, "oldest": 0}


def test_unclaimed_entries_are_sent_again(make_stand: MakeStand) -> None:
    stand = make_stand(LEDGER_SWEEP_AFTER="1", LEDGER_SWEEP_INTERVAL="0.1")
    (sent,) = stand.send(*learners(1))
    stand.bridge()
    entry_id = stand.entry_id(sent)
    wait_until(
        "a second message for the same entry",
        lambda: [ticket for message in stand.messages() for ticket in message.tickets][:2] == [(entry_id, 1)] * 2,
    )
