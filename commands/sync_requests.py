"""The event that the course service sends when a learner asks for a sync (docs/reconciliation.md, who asks). Pure."""

import json
import uuid
from dataclasses import dataclass

from reconciliation.model import EnrolmentKey, OutgoingEvent
from reconciliation.requests import ACTION


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A request that is about to be sent; `mid` names it wherever somebody asks for it later."""

    mid: str
    enrolment: EnrolmentKey


def checked_id(name: str, text: str) -> str:
    """Give an id without the blanks around it; raises ValueError where it could be no part of a request."""
    stripped = text.strip()
    if not stripped:
        raise ValueError(f"{name} is blank")
    try:
        stripped.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{name} contains what UTF-8 can't carry") from None
    return stripped


def new_request(
    enrolment: EnrolmentKey, topic: str, now_ms: int, unique: uuid.UUID
) -> tuple[NewRequest, OutgoingEvent]:
    """Make a request for an enrolment, and its event for the input topic.

    `now_ms` is the time of sending in milliseconds since 1970, `unique` tells the request from all others.
    """
    mid = f"LP.{now_ms}.{unique}"
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
    value = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    return NewRequest(mid, enrolment), OutgoingEvent(topic, enrolment.user_id.encode("utf-8"), value)
