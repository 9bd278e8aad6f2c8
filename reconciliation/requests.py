"""Reads sync requests from Kafka's records (docs/reconciliation.md, who asks).

Whatever the bytes are, there are three answers: a request, a record that is not ours, or `InvalidRequest`. The reasons
name fields and positions and never a value: they reach logs, and the values are personal.
"""

import json
import math
import uuid
from dataclasses import dataclass, replace
from typing import NoReturn

from reconciliation.errors import InvalidRequest
from reconciliation.model import EnrolmentKey, Origin, Record, SyncRequest

ACTION = "user-enrolment-sync"

#: What the job that merges a learner's accounts asks for; taken where `request.batch.sync.accept` says so.
BATCH_SYNC_ACTION = "batch-enrolment-sync"

#: A record with this header may have been answered before: it was sent again by `replay`. Its value is a JSON array:
#: topic, partition, offset and timestamp of the record as it was first sent (reconciliation/replays.py).
REPEATED_HEADER = "enrolment-reconciliation-repeated"

#: When a record that is sent again was sent first, in milliseconds; failed events carry it.
ORIGINAL_TIMESTAMP_HEADER = "original-timestamp"

#: An id that takes more bytes in UTF-8 is none. Sunbird's have below 100, and Cassandra takes no key above 65,535.
LONGEST_ID_BYTES = 1024

#: A request whose value, key and headers take more bytes is none. Genuine ones have some 600. The ledger keeps each as
#: it came, and its bound counts requests.
LARGEST_REQUEST_BYTES = 64 * 1024

_ENTRY_NAMESPACE = uuid.UUID("5b0f4a2e-6f0c-4c57-9a38-0d6a3a0e7c11")


@dataclass(frozen=True, slots=True)
class Skip:
    """A record that is no request for us; `reason` says why, without personal values."""

    reason: str


def parse(record: Record, *, batch_sync: bool = False) -> SyncRequest | Skip:
    """Read one record of the input topic; `batch_sync` says whether `BATCH_SYNC_ACTION` is ours too.

    Raises:
        InvalidRequest: the record can't be a request and goes to the failed topic: no JSON object (RFC 8259, UTF-8), or
            our action with an id that is missing, blank, no string, impossible in UTF-8 or longer than
            `LONGEST_ID_BYTES`, or in a record larger than `LARGEST_REQUEST_BYTES`.

    """
    if record.value is None:
        raise InvalidRequest("the record has no value")
    edata = read_object(record.value).get("edata")
    if not isinstance(edata, dict):
        return Skip("edata is not an object")
    action = edata.get("action")
    ours = (ACTION, BATCH_SYNC_ACTION) if batch_sync else (ACTION,)
    if not isinstance(action, str) or action.lower() not in ours:
        return Skip(f"edata.action is not {' or '.join(ours)}")
    repeated = any(name == REPEATED_HEADER for name, _ in record.headers)
    enrolment = EnrolmentKey(
        user_id=_identifier(edata, "userId"),
        course_id=_identifier(edata, "courseId"),
        batch_id=_identifier(edata, "batchId"),
    )
    size = record_size(record)
    if size > LARGEST_REQUEST_BYTES:
        raise InvalidRequest(f"the record takes {size} bytes; {LARGEST_REQUEST_BYTES} are allowed")
    return SyncRequest(
        entry_id=request_id(record.origin),
        enrolment=enrolment,
        record=_as_first_sent(record) if repeated else record,
        repeated=repeated,
    )


def record_size(record: Record) -> int:
    """Count the bytes of a record's value, key and headers."""
    headers = sum(len(name.encode("utf-8", "surrogatepass")) + len(value or b"") for name, value in record.headers)
    return len(record.value or b"") + len(record.key or b"") + headers


def _as_first_sent(record: Record) -> Record:
    """Give a replayed record the time at which it was first sent, which its header carries.

    What answered it may be older than the replay; judged by the replay's own time it would not count as its answer.
    """
    header = next((value for name, value in record.headers if name == ORIGINAL_TIMESTAMP_HEADER), None)
    try:
        first_ms = int(header or b"")
    except ValueError:
        return record
    timestamp_ms = max(0, min(first_ms, record.origin.timestamp_ms))
    return replace(record, origin=replace(record.origin, timestamp_ms=timestamp_ms))


def request_id(origin: Origin) -> str:
    """Give the id of the request at this place on Kafka: always the same, so a record read twice is one request."""
    place = json.dumps([origin.topic, origin.partition, origin.offset])
    return str(uuid.uuid5(_ENTRY_NAMESPACE, place))


def read_object(value: bytes, *, exact: bool = False) -> dict[str, object]:
    """Read a JSON object by RFC 8259 alone, without what Python's parser takes in addition.

    A number that Python can't hold is read as infinite; with `exact`, for what is to be written again, it is refused.
    Of a name given twice the last one counts.

    Raises:
        InvalidRequest: not UTF-8, not JSON, no object, or nested too deeply.

    """
    read_float, read_integer = (_finite, _integer) if exact else (float, _integer_or_infinite)
    try:
        content = json.loads(
            value.decode("utf-8"), parse_constant=_refuse_constant, parse_float=read_float, parse_int=read_integer
        )
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the value is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        # without its cause, which carries the whole text
        raise InvalidRequest(f"the value is not JSON at character {error.pos}") from None
    except RecursionError:
        raise InvalidRequest("the value is nested too deeply") from None
    if not isinstance(content, dict):
        raise InvalidRequest("the value is JSON, but no object")
    return content


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidRequest(f"the value is not JSON: it contains {name}")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise InvalidRequest("the value contains a number that is too large")
    return number


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        # Python limits the digits it converts (sys.set_int_max_str_digits), since the time grows with their square
        raise InvalidRequest("the value contains a number with too many digits") from None


def _integer_or_infinite(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return math.inf


def _identifier(edata: dict[str, object], name: str) -> str:
    value = edata.get(name)
    if not isinstance(value, str):
        raise InvalidRequest(f"edata.{name} is missing or not a string")
    if not value.strip():
        raise InvalidRequest(f"edata.{name} is blank")
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError:
        # JSON can escape half of a surrogate pair; neither Cassandra nor Kafka could carry it
        raise InvalidRequest(f"edata.{name} contains what UTF-8 can't carry") from None
    if size > LONGEST_ID_BYTES:
        raise InvalidRequest(f"edata.{name} takes {size} bytes; {LONGEST_ID_BYTES} are allowed")
    return value
