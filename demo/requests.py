"""The records that the demonstration sends: one for each click, and two that are no such request."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from demo.learners import Learner

#: Nobody's ids: the request that lacks its course, and the event that is not meant for us.
FORGETFUL_USER = "7d0f2c52-3a43-4f0b-9f3b-6a1f0c6e2d11"
OTHER_ACTION_USER = "c5a8e0f4-2b7d-4d1b-8d38-0e9a5f7b1c22"


@dataclass(frozen=True, slots=True)
class Request:
    """One record for the input topic: its key, and the event's own part."""

    user_id: str
    course_id: str | None
    batch_id: str
    action: str = "user-enrolment-sync"

    def event(self, now_ms: int) -> dict[str, object]:
        """Give the event as the course service publishes it (docs/reconciliation.md, who asks)."""
        edata: dict[str, object] = {
            "action": self.action,
            "iteration": 1,
            "batchId": self.batch_id,
            "userId": self.user_id,
        }
        if self.course_id is not None:
            edata["courseId"] = self.course_id
        return {
            "eid": "BE_JOB_REQUEST",
            "ets": now_ms,
            "mid": f"LP.{now_ms}.{uuid.uuid4()}",
            "actor": {"type": "System", "id": "Course Batch Updater"},
            "context": {"pdata": {"ver": "1.0", "id": "org.sunbird.platform"}},
            "object": {"type": "CourseBatchEnrolment", "id": f"{self.batch_id}_{self.user_id}"},
            "edata": edata,
        }


def requests_of(learners: Sequence[Learner]) -> list[Request]:
    """Give every learner's clicks, then a request without courseId and an event with another action."""
    batch_id = learners[0].course.batch_id
    clicks = [
        Request(learner.user_id, learner.course.course_id, learner.course.batch_id)
        for learner in learners
        for _ in range(learner.clicks)
    ]
    return [
        *clicks,
        Request(FORGETFUL_USER, None, batch_id),
        Request(OTHER_ACTION_USER, learners[0].course.course_id, batch_id, action="batch-enrolment-update"),
    ]
