"""The announcement of a completion, field for field (docs/reconciliation.md, events)."""

import dataclasses
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciliation.events import audit_event, certificate_event, completion_mid, healing_event
from reconciliation.model import Completion, EnrolmentKey, OutgoingEvent

COMPLETION = Completion(EnrolmentKey("user001", "course001", "Batch1"), 1_700_000_000_123)
NOW_MS = 1_700_000_009_999
UUID5 = "[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def content(event: OutgoingEvent) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(event.value.decode("utf-8"))
    return read


def test_the_certificate_event() -> None:
    event = certificate_event(COMPLETION, "dev.issue.certificate.request", NOW_MS)
    assert (event.topic, event.key, event.headers) == ("dev.issue.certificate.request", b"user001", ())
    assert content(event) == {
        "eid": "BE_JOB_REQUEST",
        "ets": NOW_MS,
        "mid": completion_mid(COMPLETION),
        "actor": {"id": "Course Certificate Generator", "type": "System"},
        "context": {"pdata": {"ver": "1.0", "id": "org.sunbird.platform"}},
        "object": {"id": "Batch1_course001", "type": "CourseCertificateGeneration"},
        "edata": {
            "userIds": ["user001"],
            "action": "issue-certificate",
            "iteration": 1,
            "trigger": "auto-issue",
            "batchId": "Batch1",
            "reIssue": False,
            "courseId": "course001",
        },
    }


def test_the_audit_event() -> None:
    event = audit_event(COMPLETION, "dev.telemetry.raw", "in.sunbird", NOW_MS)
    read = content(event)
    assert (event.topic, event.key, event.headers) == ("dev.telemetry.raw", b"user001", ())
    assert re.fullmatch(f"LP\\.AUDIT\\.{UUID5}", read["mid"])
    assert re.fullmatch(UUID5, read["context"]["sid"])
    assert re.fullmatch(UUID5, read["context"]["did"])
    assert len({read["mid"][-36:], read["context"]["sid"], read["context"]["did"]}) == 3
    assert read == {
        "eid": "AUDIT",
        "ets": NOW_MS,
        "ver": "3.0",
        "syncts": NOW_MS,
        "mid": read["mid"],
        "tags": [],
        "actor": {"id": "user001", "type": "User"},
        "edata": {"props": ["status", "completedon"], "type": "enrol-complete"},
        "context": {
            "channel": "in.sunbird",
            "env": "Course",
            "sid": read["context"]["sid"],
            "did": read["context"]["did"],
            "pdata": {"ver": "3.0", "id": "org.sunbird.learning.platform", "pid": "course-progress-updater"},
            "cdata": [{"type": "CourseBatch", "id": "Batch1"}, {"type": "Course", "id": "course001"}],
        },
        "object": {"id": "user001", "type": "User", "rollup": {"l1": "course001"}},
    }


def test_the_mid_names_completedon_and_a_uuid5() -> None:
    assert re.fullmatch(f"LP\\.1700000000123\\.{UUID5}", completion_mid(COMPLETION))


def test_mids_stay_the_same_from_release_to_release() -> None:
    # what was announced before an upgrade is remembered by this name after it
    assert completion_mid(COMPLETION) == "LP.1700000000123.f63b4b45-741c-51c8-8a9f-de32cfe84554"


@pytest.mark.parametrize(
    "other",
    [
        Completion(EnrolmentKey("user002", "course001", "Batch1"), COMPLETION.completed_on_ms),
        Completion(EnrolmentKey("user001", "course002", "Batch1"), COMPLETION.completed_on_ms),
        Completion(EnrolmentKey("user001", "course001", "Batch2"), COMPLETION.completed_on_ms),
        Completion(EnrolmentKey("course001", "user001", "Batch1"), COMPLETION.completed_on_ms),
        Completion(EnrolmentKey("user001course001", "", "Batch1"), COMPLETION.completed_on_ms),
        dataclasses.replace(COMPLETION, completed_on_ms=COMPLETION.completed_on_ms + 1),
    ],
)
def test_another_completion_has_other_ids(other: Completion) -> None:
    ours, theirs = (content(audit_event(completion, "t", "c", NOW_MS)) for completion in (COMPLETION, other))
    assert completion_mid(COMPLETION)[-36:] != completion_mid(other)[-36:]
    assert ours["mid"] != theirs["mid"]
    assert ours["context"]["sid"] != theirs["context"]["sid"]
    assert ours["context"]["did"] != theirs["context"]["did"]


identifiers = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
completions = st.builds(Completion, st.builds(EnrolmentKey, identifiers, identifiers, identifiers), st.integers(0))


@given(completions, completions)
def test_different_completions_never_share_a_mid(one: Completion, other: Completion) -> None:
    assert (completion_mid(one) == completion_mid(other)) is (one == other)


@given(completions, identifiers, st.integers(0, 10**13), st.integers(0, 10**13))
def test_a_repeat_differs_in_its_times_alone(
    completion: Completion, channel: str, first_ms: int, later_ms: int
) -> None:
    for first, later in (
        (certificate_event(completion, "t", first_ms), certificate_event(completion, "t", later_ms)),
        (audit_event(completion, "t", channel, first_ms), audit_event(completion, "t", channel, later_ms)),
    ):
        repeat = json.loads(later.value)
        for name in ("ets", "syncts"):
            if name in repeat:
                repeat[name] = first_ms
        rewritten = json.dumps(repeat, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
        assert rewritten == first.value
        assert later.key == first.key == completion.enrolment.user_id.encode("utf-8")


def test_healing_event_asks_for_the_course_alone() -> None:
    event = healing_event("do_1é", "heal", 1_700_000_000_123)
    assert (event.topic, event.key, event.headers) == ("heal", "do_1é".encode(), ())
    content = json.loads(event.value)
    assert content["edata"] == {
        "action": "relation-cache-update",
        "identifier": "do_1é",
        "mimeType": "application/vnd.ekstep.content-collection",
    }
    assert list(content) == ["eid", "ets", "mid", "actor", "context", "object", "edata"]
    assert (content["ets"], content["object"]["id"]) == (1_700_000_000_123, "do_1é")
    assert content["mid"].startswith("LP.1700000000123.")
    assert content["mid"] != json.loads(healing_event("do_2", "heal", 1_700_000_000_123).value)["mid"]
