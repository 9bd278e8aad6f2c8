"""The event that the course service sends when a learner asks for a sync (docs/reconciliation.md, who asks). Pure."""

import json

from reconciliation.model import EnrolmentKey
from reconciliation.requests import ACTION


def sync_event(enrolment: EnrolmentKey, mid: str, now_ms: int) -> bytes:
    """Give the event's value; `mid` names it, `now_ms` is the time of sending in milliseconds since 1970."""
    event = {
        "eid": "BE_JOB_REQUEST",
        "ets": now_ms,
        "mid": mid,
        "actor": {"type": "System", "id": "Course Batch Updater"},
        "context": {"pdata": {"ver": "1.0", "id": "org.sunbird.platform"}},
        "object": {"type": "CourseBatchEnrolment", "id": f"{enrolment.batch_id}_{enrolment.user_id}"},
        "edata": {
            "action": ACTION,
            "iteration": 1,
            "batchId": enrolment.batch_id,
            "userId": enrolment.user_id,
            "courseId": enrolment.course_id,
        },
    }
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
