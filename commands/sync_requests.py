"""The requests that commands send to the input topic, as the course service does. Pure."""

import uuid
from dataclasses import dataclass

from reconciliation.model import EnrolmentKey, OutgoingEvent
from reconciliation.requests import LONGEST_ID_BYTES
from reconciliation.sync_event import sync_event


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
        size = len(stripped.encode("utf-8"))
    except UnicodeEncodeError:
        raise ValueError(f"{name} contains what UTF-8 can't carry") from None
    if size > LONGEST_ID_BYTES:
        raise ValueError(f"{name} takes {size} bytes; {LONGEST_ID_BYTES} are allowed")
    return stripped


def new_request(
    enrolment: EnrolmentKey, topic: str, now_ms: int, unique: uuid.UUID
) -> tuple[NewRequest, OutgoingEvent]:
    """Make a request for an enrolment, and its event for the input topic.

    `now_ms` is the time of sending in milliseconds since 1970, `unique` tells the request from all others.
    """
    mid = f"LP.{now_ms}.{unique}"
    value = sync_event(enrolment, mid, now_ms)
    return NewRequest(mid, enrolment), OutgoingEvent(topic, enrolment.user_id.encode("utf-8"), value)
