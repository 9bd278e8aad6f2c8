"""The two events that announce a completion (docs/reconciliation.md, events), and the one that asks for relation sets.

What is announced names the events: everything but the time of sending follows from the completion, so that a repeat
carries the same ids and its readers can tell that it is one. The ids of a completion come from `requests.parse`, which
lets nothing through that UTF-8 can't carry.
"""

import json
import uuid
from collections.abc import Mapping

from reconciliation.model import Completion, OutgoingEvent

#: What the job that makes relation sets is asked with.
HEALING_ACTION = "relation-cache-update"
COLLECTION_MIME_TYPE = "application/vnd.ekstep.content-collection"

_ANNOUNCEMENT_NAMESPACE = uuid.UUID("c1f7c3d6-0a53-4a8e-8d5e-3f9b8f6a2b74")


def completion_mid(completion: Completion) -> str:
    """Give the certificate event's mid, which names the announcement wherever it is remembered."""
    return f"LP.{completion.completed_on_ms}.{_announcement_id('certificate', completion)}"


def audit_mid(completion: Completion) -> str:
    """Give the audit event's mid."""
    return f"LP.AUDIT.{_announcement_id('audit', completion)}"


def certificate_event(completion: Completion, topic: str, now_ms: int, *, reissue: bool = False) -> OutgoingEvent:
    """Give the event that asks for the learner's certificate; `now_ms` is the time of sending.

    `reissue` asks for a new one even where there is one already.

    One event names one learner: its consumer reads only the first of `userIds`.
    """
    enrolment = completion.enrolment
    return _event(
        completion,
        topic,
        {
            "eid": "BE_JOB_REQUEST",
            "ets": now_ms,
            "mid": completion_mid(completion),
            "actor": {"id": "Course Certificate Generator", "type": "System"},
            "context": {"pdata": {"ver": "1.0", "id": "org.sunbird.platform"}},
            "object": {
                "id": f"{enrolment.batch_id}_{enrolment.course_id}",
                "type": "CourseCertificateGeneration",
            },
            "edata": {
                "userIds": [enrolment.user_id],
                "action": "issue-certificate",
                "iteration": 1,
                "trigger": "auto-issue",
                "batchId": enrolment.batch_id,
                "reIssue": reissue,
                "courseId": enrolment.course_id,
            },
        },
    )


def audit_event(completion: Completion, topic: str, channel: str, now_ms: int) -> OutgoingEvent:
    """Give the telemetry event of the completion; `channel` is the tenant it is told for, `now_ms` the time of sending.

    Telemetry's schema allows no further fields in `edata`.
    """
    enrolment = completion.enrolment
    return _event(
        completion,
        topic,
        {
            "eid": "AUDIT",
            "ets": now_ms,
            "ver": "3.0",
            "syncts": now_ms,
            "mid": audit_mid(completion),
            "tags": [],
            "actor": {"id": enrolment.user_id, "type": "User"},
            "edata": {"props": ["status", "completedon"], "type": "enrol-complete"},
            "context": {
                "channel": channel,
                "env": "Course",
                "sid": _announcement_id("session", completion),
                "did": _announcement_id("device", completion),
                "pdata": {
                    "ver": "3.0",
                    "id": "org.sunbird.learning.platform",
                    "pid": "course-progress-updater",
                },
                "cdata": [
                    {"type": "CourseBatch", "id": enrolment.batch_id},
                    {"type": "Course", "id": enrolment.course_id},
                ],
            },
            "object": {
                "id": enrolment.user_id,
                "type": "User",
                "rollup": {"l1": enrolment.course_id},
            },
        },
    )


def healing_event(course_id: str, topic: str, now_ms: int) -> OutgoingEvent:
    """Give the event that asks for a course's relation sets to be made anew (docs/relations.md).

    The job that makes them reads `edata` alone. `now_ms` is the time of sending; the event's key is the course.
    """
    mid = uuid.uuid5(_ANNOUNCEMENT_NAMESPACE, json.dumps(["healing", course_id, now_ms]))
    content = {
        "eid": "BE_JOB_REQUEST",
        "ets": now_ms,
        "mid": f"LP.{now_ms}.{mid}",
        "actor": {"id": "Enrolment Reconciliation", "type": "System"},
        "context": {"pdata": {"ver": "1.0", "id": "org.sunbird.platform"}},
        "object": {"id": course_id, "type": "Collection"},
        "edata": {"action": HEALING_ACTION, "identifier": course_id, "mimeType": COLLECTION_MIME_TYPE},
    }
    return OutgoingEvent(topic=topic, key=course_id.encode(), value=_encoded(content))


def _announcement_id(kind: str, completion: Completion) -> str:
    """Give one of the completion's ids; a JSON array keeps apart what plain joining could mix up."""
    enrolment = completion.enrolment
    named = [
        kind,
        enrolment.user_id,
        enrolment.course_id,
        enrolment.batch_id,
        completion.completed_on_ms,
    ]
    return str(uuid.uuid5(_ANNOUNCEMENT_NAMESPACE, json.dumps(named)))


def _event(completion: Completion, topic: str, content: Mapping[str, object]) -> OutgoingEvent:
    return OutgoingEvent(topic=topic, key=completion.enrolment.user_id.encode("utf-8"), value=_encoded(content))


def _encoded(content: Mapping[str, object]) -> bytes:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
