"""The event that carries a request which was given up, and the way back (docs/reconciliation.md, events).

Whatever the original's bytes are, the event is JSON by RFC 8259 and small enough for its topic: a record that could
not even be given up would hold its partition for ever.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping

from reconciliation.errors import EventTooLarge, InvalidRequest
from reconciliation.model import FinalFailure, Origin, OutgoingEvent, Record
from reconciliation.requests import ORIGINAL_TIMESTAMP_HEADER, read_object

JOB_NAME = "enrolment-reconciliation"

#: How many bytes a truncated event carries of its original.
CARRIED_BYTES = 64 * 1024

_OURS = ("jobName", "failInfo")

#: Name the topic, partition, offset and timestamp of the record that was given up.
ORIGIN_HEADERS = ("original-topic", "original-partition", "original-offset", ORIGINAL_TIMESTAMP_HEADER)

# More than Kafka's own framing of a message and its batch takes (KIP-98's record format, below 150 bytes).
_MARGIN_BYTES = 1024
_HEADER_FRAME_BYTES = 10

# A driver's text can repeat a whole statement; its start says what happened.
_ERROR_CHARACTERS = 4000

# What JSON takes for blanks, and what we put between an original's fields and the reason.
_BLANKS = b" \t\r\n"
_MARKER = b',"jobName":"' + JOB_NAME.encode() + b'","failInfo":'


def failed_event(record: Record, failure: FinalFailure, topic: str, max_bytes: int) -> OutgoingEvent:
    """Give the event for the failed topic.

    Args:
        record: the request as Kafka gave it.
        failure: why it is given up.
        topic: the failed topic.
        max_bytes: the largest message that the topic takes, key and headers included.

    Returns:
        The original's fields with `jobName` and `failInfo`; an original without fields of its own is carried in
        `failInfo.event` or `failInfo.eventBase64`. One that is too large is cut: its size, its sha256 and its first
        64 KiB are carried (less where the topic takes less).

    Raises:
        EventTooLarge: `max_bytes` doesn't hold even the reason alone.

    """
    fail_info: dict[str, object] = {
        "errorCode": failure.code,
        "error": failure.error[:_ERROR_CHARACTERS],
        "attempts": failure.attempts,
        "failedAt": failure.failed_at_ms,
    }
    origin = _origin_headers(record.origin)
    own = tuple((name, value) for name, value in record.headers if name not in ORIGIN_HEADERS)
    whole = _whole(record.value, fail_info)
    if len(whole) <= _room(record.key, own + origin, max_bytes):
        return OutgoingEvent(topic, record.key, whole, own + origin)
    # headers and key are given up only where they leave no room for the reason
    for key, headers in ((record.key, own + origin), (record.key, origin), (None, origin)):
        cut = _truncated(record.value or b"", fail_info, _room(key, headers, max_bytes))
        if cut is not None:
            return OutgoingEvent(topic, key, cut, headers)
    raise EventTooLarge(f"a failed event's reason alone does not fit into {max_bytes} bytes")


def unwrap(value: bytes) -> bytes | None:
    """Give the original back from a failed event's value; None where the original had no value.

    Raises:
        InvalidRequest: this is no failed event, one that carries only a part of its original, or one that somebody
            wrote anew and whose numbers or nesting Python can't write again.

    """
    fields = read_object(value)
    fail_info = fields.get("failInfo")
    if fields.get("jobName") != JOB_NAME or not isinstance(fail_info, dict):
        raise InvalidRequest("the value is no failed event of this job")
    if "sha256" in fail_info:
        raise InvalidRequest("the failed event carries only the start of its original")
    text, encoded = fail_info.get("event"), fail_info.get("eventBase64")
    if isinstance(text, str):
        return _bytes_of(text)
    if isinstance(encoded, str):
        return _bytes_of_base64(encoded)
    # within the reason the marker can't stand: its quotes would be escaped there
    original = value.rpartition(_MARKER)[0] + b"}"
    if _is_object(original):
        return original
    # somebody else wrote the event anew
    fields = _without_ours(read_object(value, exact=True))
    try:
        return _json(fields) if fields else None
    except RecursionError:
        # how deep reading and writing may go differs between Python's releases
        raise InvalidRequest("the original is nested too deeply") from None


def _whole(value: bytes | None, fail_info: Mapping[str, object]) -> bytes:
    if value is None:
        return _event({}, fail_info)
    try:
        fields = read_object(value)
        if fields and not any(name in fields for name in _OURS):
            # as it stands, so that numbers, escapes and names given twice are what they were
            return value.strip(_BLANKS)[:-1] + _MARKER + _json(fail_info) + b"}"
        fields = _without_ours(read_object(value, exact=True))
        if fields:
            return _event(fields, fail_info)
    except (InvalidRequest, RecursionError):
        # RecursionError: what could just be read may be nested too deeply for writing, some calls further down
        pass
    # An object without fields of its own is carried as text too, or it could not be told from a missing value.
    return _event({}, {**fail_info, **_carried(value)})


def _truncated(value: bytes, fail_info: Mapping[str, object], room: int) -> bytes | None:
    """Give the event with as much of the original's start as fits; None where there is no room for the reason."""
    described = {**fail_info, "size": len(value), "sha256": hashlib.sha256(value).hexdigest()}
    spare = room - len(_event({}, {**described, "eventBase64": ""}))
    if spare < 0:
        return None
    length = min(CARRIED_BYTES, len(value))
    while len(event := _event({}, {**described, **_carried(value, length)})) > room:
        # how long a byte gets depends on what it is: cut in proportion, until it fits
        length = min(length - 1, length * spare // (spare + len(event) - room))
    return event


def _is_object(value: bytes) -> bool:
    try:
        read_object(value)
    except InvalidRequest:
        return False
    return True


def _carried(value: bytes, length: int | None = None) -> dict[str, object]:
    """Give the field that carries the value's first `length` bytes: as text, cut between characters, or as base64."""
    start = value[:length]
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return {"eventBase64": base64.b64encode(start).decode("ascii")}
    # the whole is UTF-8, so the only bytes to ignore are those of a character that was cut
    return {"event": start.decode("utf-8", errors="ignore")}


def _without_ours(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: content for name, content in fields.items() if name not in _OURS}


def _event(fields: Mapping[str, object], fail_info: Mapping[str, object]) -> bytes:
    return _json({**fields, "jobName": JOB_NAME, "failInfo": fail_info})


def _json(content: Mapping[str, object]) -> bytes:
    try:
        return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError:
        # a field of the original holds half of a surrogate pair, which only an escape can carry
        return json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def _origin_headers(origin: Origin) -> tuple[tuple[str, bytes], ...]:
    values = (origin.topic, origin.partition, origin.offset, origin.timestamp_ms)
    return tuple((name, str(value).encode("utf-8")) for name, value in zip(ORIGIN_HEADERS, values, strict=True))


def _room(key: bytes | None, headers: tuple[tuple[str, bytes | None], ...], max_bytes: int) -> int:
    """Give how many bytes are left for the value beside key, headers and Kafka's framing."""
    # four bytes are the longest form of a character in UTF-8
    used = sum(4 * len(name) + len(value or b"") + _HEADER_FRAME_BYTES for name, value in headers)
    return max_bytes - _MARGIN_BYTES - len(key or b"") - used


def _bytes_of(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidRequest("failInfo.event contains what UTF-8 can't carry") from None


def _bytes_of_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("failInfo.eventBase64 is not base64") from None
