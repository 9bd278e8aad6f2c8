"""Records that can't be requests end on the failed topic, and hold nothing up."""

import base64
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

from tests.integration.conftest import MakeInstallation
from tests.support.events import encoded, sync_event
from tests.support.installation import Installation, new_learner
from tests.support.kafka import Received
from tests.support.relations import course_of_units
from tests.support.tables import Learner

SOMEONE = Learner("someone", "some-course", "some-batch")


@pytest.fixture(scope="module")
def installation(make_installation: MakeInstallation) -> Iterator[Installation]:
    with make_installation() as made:
        yield made.start()


def _send_before_a_good_one(installation: Installation, value: bytes | None) -> Received:
    """Send a record and a valid request behind it; returns what the failed topic got for the first."""
    learner = new_learner()
    installation.relations.fill(course_of_units(learner.course, {"unit": {"a"}}))
    installation.tables.add_consumption({learner: {"a": 2}})
    installation.tables.add_enrolments([learner])
    before = len(installation.failed.records())
    key = learner.user.encode()

    bad, good = installation.send_records([(key, value), (key, encoded(sync_event(learner)))])
    installation.wait_settled()

    assert bad.partition == good.partition
    row = installation.tables.enrolment(learner)
    assert row is not None
    assert row["status"] == 2
    (record,) = [it for it in installation.failed.records() if it.key == key]
    assert len(installation.failed.records()) == before + 1
    assert record.headers == {
        "original-topic": installation.input_topic.encode(),
        "original-partition": str(bad.partition).encode(),
        "original-offset": str(bad.offset).encode(),
        "original-timestamp": str(bad.timestamp_ms).encode(),
    }
    info = record.event["failInfo"]
    assert info["errorCode"] == "INVALID_REQUEST"
    assert info["error"]
    assert info["attempts"] in (0, 1)
    assert time.time() * 1000 - 60_000 < info["failedAt"] <= time.time() * 1000
    assert record.event["jobName"] == "enrolment-reconciliation"
    return record


@pytest.mark.parametrize(
    "text",
    [
        '{"eid": "BE_JOB_REQUEST", "edata": {',
        "",
        "null",
        "[1, 2]",
        '"user-enrolment-sync"',
        '{"edata": {"action": "user-enrolment-sync", "iteration": NaN}}',
        "\ufeff{}",
    ],
)
def test_text_that_is_no_object_is_carried_as_text(installation: Installation, text: str) -> None:
    event = _send_before_a_good_one(installation, text.encode()).event

    assert event["failInfo"]["event"] == text
    assert set(event) == {"jobName", "failInfo"}
    assert set(event["failInfo"]) == {"errorCode", "error", "attempts", "failedAt", "event"}


def test_bytes_that_are_no_text_are_carried_as_base64(installation: Installation) -> None:
    value = encoded(sync_event(SOMEONE)) + b"\xff\xfe"

    event = _send_before_a_good_one(installation, value).event

    assert base64.b64decode(event["failInfo"]["eventBase64"]) == value
    assert set(event["failInfo"]) == {"errorCode", "error", "attempts", "failedAt", "eventBase64"}


def test_a_record_without_a_value_is_told_apart(installation: Installation) -> None:
    event = _send_before_a_good_one(installation, None).event

    assert set(event) == {"jobName", "failInfo"}
    assert set(event["failInfo"]) == {"errorCode", "error", "attempts", "failedAt"}


@pytest.mark.parametrize("name", ["userId", "courseId", "batchId"])
@pytest.mark.parametrize("wrong", [None, "", "  \t", 12, ["x"], {"id": "x"}, True], ids=repr)
def test_an_id_that_is_none_is_told(installation: Installation, name: str, wrong: object) -> None:
    _check_refused(installation, sync_event(SOMEONE, **{name: wrong}), name)


@pytest.mark.parametrize("name", ["userId", "courseId", "batchId"])
def test_an_id_that_is_missing_is_told(installation: Installation, name: str) -> None:
    event = sync_event(SOMEONE)
    del event["edata"][name]
    _check_refused(installation, event, name)


def _check_refused(installation: Installation, event: dict[str, object], name: str) -> None:
    failed = _send_before_a_good_one(installation, encoded(event)).event

    assert name in failed["failInfo"]["error"]
    assert failed == {**event, "jobName": "enrolment-reconciliation", "failInfo": failed["failInfo"]}


def test_a_request_that_is_far_too_large_is_told_and_kept_on_the_failed_topic_alone(installation: Installation) -> None:
    event = {**sync_event(SOMEONE), "unknown": "x" * 500_000}
    record = _send_before_a_good_one(installation, encoded(event))

    failed, size = record.event, len(encoded(event)) + len(record.key or b"")
    assert failed["failInfo"]["error"] == f"the record takes {size} bytes; 65536 are allowed"
    assert failed == {**event, "jobName": "enrolment-reconciliation", "failInfo": failed["failInfo"]}


def test_an_id_that_utf_8_cannot_carry_is_told(installation: Installation) -> None:
    value = encoded(sync_event(Learner("half \ud83d of a pair".encode("utf-8", "replace").decode(), "c", "b")))
    value = value.replace(b"half ? of", b"half \\ud83d of")

    record = _send_before_a_good_one(installation, value)

    assert record.event["edata"]["userId"] == "half \ud83d of a pair"
    assert "userId" in record.event["failInfo"]["error"]


def test_hostile_headers_and_keys_come_along_and_hold_nothing_up(installation: Installation) -> None:
    headers: list[tuple[str, bytes | None]] = [
        ("ശ്രീ", b"\xff\x00"),
        ("", b""),
        ("none", None),
        ("original-offset", b"forged"),
        ("original-timestamp", b"9" * 5000),
        ("enrolment-reconciliation-repeated", None),
        *[("many", b"x")] * 3000,
    ]
    key = b"\x00\xff" * 5000
    sender = Producer({"bootstrap.servers": installation.ports.bootstrap})
    sender.produce(installation.input_topic, value=b"no JSON", key=key, headers=headers)
    assert sender.flush(30) == 0

    learner = new_learner()
    installation.sync(learner)

    (failed,) = [record for record in installation.failed.records() if record.key == key]
    assert failed.event["failInfo"]["event"] == "no JSON"
    assert failed.headers["ശ്രീ"] == b"\xff\x00"
    assert failed.headers["none"] is None
    assert failed.headers["many"] == b"x"
    assert failed.headers["original-offset"] not in (None, b"forged")
    assert len(failed.headers["original-timestamp"] or b"") == 13
