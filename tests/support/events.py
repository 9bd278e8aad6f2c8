"""What events must look like, field for field (docs/reconciliation.md, events)."""

import json
import re
import time
from typing import Any

from tests.support.kafka import Received
from tests.support.tables import Learner

ACTION = "user-enrolment-sync"

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
#: How long before now a test's event may say that it was sent, in milliseconds.
_RECENT_MS = 600_000


def sync_event(learner: Learner, **edata: object) -> dict[str, Any]:
    """Give the course service's event for a learner who asks for a sync; `edata` changes fields of edata."""
    return {
        "eid": "BE_JOB_REQUEST",
        "ets": 1683556693275,
        "mid": "LP.1683556693275.a18caaec-50ac-4c19-bcfe-84e2ad9aa5eb",
        "actor": {"type": "System", "id": "Course Batch Updater"},
        "context": {"pdata": {"ver": "1.0", "id": "org.sunbird.platform"}},
        "object": {"type": "CourseBatchEnrolment", "id": f"{learner.batch}_{learner.user}"},
        "edata": {
            "action": ACTION,
            "iteration": 1,
            "batchId": learner.batch,
            "userId": learner.user,
            "courseId": learner.course,
            **edata,
        },
    }


def encoded(event: object) -> bytes:
    """Write an event as the course service does: JSON in UTF-8."""
    return json.dumps(event, ensure_ascii=False).encode()


def check_certificate(record: Received, learner: Learner, completed_on_ms: int) -> None:
    """Insist that this is the certificate event of that completion."""
    event = record.event
    assert record.key == learner.user.encode()
    assert re.fullmatch(rf"LP\.{completed_on_ms}\.{_UUID}", event["mid"])
    assert _is_recent(event["ets"])
    assert event == {
        "eid": "BE_JOB_REQUEST",
        "ets": event["ets"],
        "mid": event["mid"],
        "actor": {"id": "Course Certificate Generator", "type": "System"},
        "context": {"pdata": {"ver": "1.0", "id": "org.sunbird.platform"}},
        "object": {"id": f"{learner.batch}_{learner.course}", "type": "CourseCertificateGeneration"},
        "edata": {
            "userIds": [learner.user],
            "action": "issue-certificate",
            "iteration": 1,
            "trigger": "auto-issue",
            "batchId": learner.batch,
            "reIssue": False,
            "courseId": learner.course,
        },
    }


def check_audit(record: Received, learner: Learner, channel: str = "in.sunbird") -> None:
    """Insist that this is the audit event of a completion of that learner."""
    event = record.event
    assert record.key == learner.user.encode()
    assert re.fullmatch(rf"LP\.AUDIT\.{_UUID}", event["mid"])
    assert re.fullmatch(_UUID, event["context"]["sid"])
    assert re.fullmatch(_UUID, event["context"]["did"])
    assert _is_recent(event["ets"])
    assert _is_recent(event["syncts"])
    assert event == {
        "eid": "AUDIT",
        "ets": event["ets"],
        "ver": "3.0",
        "syncts": event["syncts"],
        "mid": event["mid"],
        "tags": [],
        "actor": {"id": learner.user, "type": "User"},
        "edata": {"props": ["status", "completedon"], "type": "enrol-complete"},
        "context": {
            "channel": channel,
            "env": "Course",
            "sid": event["context"]["sid"],
            "did": event["context"]["did"],
            "pdata": {"ver": "3.0", "id": "org.sunbird.learning.platform", "pid": "course-progress-updater"},
            "cdata": [{"type": "CourseBatch", "id": learner.batch}, {"type": "Course", "id": learner.course}],
        },
        "object": {"id": learner.user, "type": "User", "rollup": {"l1": learner.course}},
    }


def certificate_learner(record: Received) -> Learner:
    """Tell whom a certificate event is for."""
    edata = record.event["edata"]
    (user,) = edata["userIds"]
    return Learner(user, edata["courseId"], edata["batchId"])


def audit_learner(record: Received) -> Learner:
    """Tell whom an audit event is about."""
    event = record.event
    batch, course = (part["id"] for part in event["context"]["cdata"])
    return Learner(event["actor"]["id"], course, batch)


def _is_recent(time_ms: object) -> bool:
    now = time.time() * 1000
    return isinstance(time_ms, int) and now - _RECENT_MS <= time_ms <= now + 1
