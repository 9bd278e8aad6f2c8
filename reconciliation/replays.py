"""The way from the failed topic back to the input topic (docs/reconciliation.md, events). Pure.

A record that is sent again says in its headers that it is repeated, and which record it repeats. The event of its next
failure keeps that header, so that however often a request goes round, all its failures are known as those of one.
"""

import json
from collections.abc import Mapping

from reconciliation.errors import InvalidRequest
from reconciliation.failed_event import ORIGIN_HEADERS, unwrap
from reconciliation.model import Origin, OutgoingEvent, Record
from reconciliation.requests import ORIGINAL_TIMESTAMP_HEADER, REPEATED_HEADER

_OURS = (*ORIGIN_HEADERS, REPEATED_HEADER)


def origin_of(failed: Record) -> Origin | None:
    """Give the place of the record that was given up, as the failed event's headers tell it; None where they don't."""
    headers = dict(failed.headers)
    topic, partition, offset, timestamp = (_text(headers, name) for name in ORIGIN_HEADERS)
    try:
        return Origin(topic, int(partition), int(offset), int(timestamp)) if topic else None
    except ValueError:
        return None


def first_origin_of(failed: Record) -> Origin:
    """Give the place at which the request was first sent, before all replays; a failed event's own where none is told.

    Two failed events of the same first place are failures of the same request.
    """
    repeated = _text(dict(failed.headers), REPEATED_HEADER)
    try:
        match json.loads(repeated):
            case [str(topic), int(partition), int(offset), int(timestamp_ms)]:
                return Origin(topic, partition, offset, timestamp_ms)
    except (ValueError, RecursionError):
        pass
    return origin_of(failed) or failed.origin


def replayed(failed: Record, topic: str) -> OutgoingEvent:
    """Give the record that sends the original of a failed event to `topic` again, as it came and with its own key.

    Its headers name where the failed event says that it came from, when it was first sent, and that it is repeated.

    Raises:
        InvalidRequest: the original can't be had back: see `unwrap`, or it had no value, which can be no request.

    """
    value = unwrap(failed.value or b"")
    if value is None:
        raise InvalidRequest("the original had no value")
    first = first_origin_of(failed)
    told = {name: _text(dict(failed.headers), name) for name in ORIGIN_HEADERS}
    told[ORIGINAL_TIMESTAMP_HEADER] = str(first.timestamp_ms)
    place = json.dumps([first.topic, first.partition, first.offset, first.timestamp_ms], separators=(",", ":"))
    headers = (
        *((name, content) for name, content in failed.headers if name not in _OURS),
        *((name, text.encode("utf-8")) for name, text in told.items() if text),
        (REPEATED_HEADER, place.encode("utf-8")),
    )
    return OutgoingEvent(topic, failed.key, value, headers)


def _text(headers: Mapping[str, bytes | None], name: str) -> str:
    return (headers.get(name) or b"").decode("utf-8", errors="replace")
