"""A bulk run's request for one enrolment: an event as a click's, which was never on Kafka (docs/bulk.md). Pure."""

import json
import uuid

from reconciliation.bulk_origin import run_topic
from reconciliation.model import EnrolmentKey, Origin, Record, SyncRequest
from reconciliation.sync_event import sync_event

_NAMESPACE = uuid.UUID("0a1f2d8e-5c3b-4d1c-9a6e-77e0d9b1c4f2")
# What Lua, and the score of a sorted set, hold exactly.
_OFFSET_BITS = 52


def bulk_request(run_id: str, enrolment: EnrolmentKey, now_ms: int) -> SyncRequest:
    """Make the request of a run for an enrolment; `now_ms` is the time of asking in milliseconds since 1970.

    Its id and its place are made of run and enrolment alone, so whoever submits it again finds it known. The offset is
    a part of the id: of a thousand open requests and ten million submitted ones, two share one by a chance of 1 in a
    hundred thousand, and the second would then be taken for the first.
    """
    named = [run_id, enrolment.user_id, enrolment.course_id, enrolment.batch_id]
    unique = uuid.uuid5(_NAMESPACE, json.dumps(named))
    origin = Origin(run_topic(run_id), 0, unique.int % 2**_OFFSET_BITS, now_ms)
    value = sync_event(enrolment, f"LP.{now_ms}.{unique}", now_ms)
    return SyncRequest(str(unique), enrolment, Record(origin, enrolment.user_id.encode(), value), run=run_id)
