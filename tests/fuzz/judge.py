"""What must hold for every record, whatever is in it: a request, a skip or a failed event, and never an exception."""

import hashlib
import json
from dataclasses import astuple, replace
from enum import StrEnum
from typing import Any, NoReturn

from bridge.intake import sort_record
from ledger.entries import decode_enrolment, encode_request, enrolment_field
from reconciliation.errors import InvalidRequest
from reconciliation.failed_event import JOB_NAME, failed_event, unwrap
from reconciliation.model import FinalFailure, OutgoingEvent, Record, SyncRequest
from reconciliation.requests import LARGEST_REQUEST_BYTES, LONGEST_ID_BYTES, record_size, request_id

NOW_MS = 1_700_000_000_000
#: What a topic takes: Kafka's usual limit, and the smallest that a failed event is cut down to.
SIZES = (1_000_000, 8 * 1024)

#: No reason is longer: it repeats neither ids nor values.
LONGEST_REASON = 100

_BLANKS = b" \t\r\n"


class Ending(StrEnum):
    """What a record can become."""

    REQUEST = "request"
    SKIP = "skip"
    FAILED = "failed event"


def judge(record: Record) -> Ending:
    """Sort a record as the bridge does and check everything that follows. Raises AssertionError."""
    work = sort_record(record, repeated=False, now_ms=NOW_MS)
    match work:
        case None:
            return Ending.SKIP
        case SyncRequest():
            _check_request(record, work)
            # every request may have to be given up later
            failure = FinalFailure("RELATIONS_MISSING", "no leaf nodes", attempts=6, failed_at_ms=NOW_MS)
            _check_failed_event(record, failure)
            return Ending.REQUEST
        case FinalFailure():
            assert work.code == "INVALID_REQUEST"
            assert work.error.isprintable()
            assert len(work.error) <= LONGEST_REASON
            _check_failed_event(record, work)
            return Ending.FAILED


def _check_request(record: Record, request: SyncRequest) -> None:
    ids = astuple(request.enrolment)
    for each in ids:
        assert each.strip()
        assert len(each.encode("utf-8")) <= LONGEST_ID_BYTES
    assert record_size(record) <= LARGEST_REQUEST_BYTES
    assert request.entry_id == request_id(record.origin)
    # of a name given twice the last one counts, here as for whoever reads the event elsewhere
    edata = _plainly(record.value or b"")["edata"]
    assert ids == (edata["userId"], edata["courseId"], edata["batchId"])
    # what the ledger writes down
    encode_request(request).encode("utf-8")
    assert decode_enrolment(enrolment_field(request.enrolment).encode("utf-8")) == request.enrolment


def _check_failed_event(record: Record, failure: FinalFailure) -> None:
    for size in SIZES:
        event = failed_event(record, failure, "failed", size)
        assert _size(event) <= size
        fields = _strictly(event.value)
        assert fields["jobName"] == JOB_NAME
        info = fields["failInfo"]
        assert (info["errorCode"], info["failedAt"]) == (failure.code, NOW_MS)
        origin = dict(event.headers)
        assert origin["original-offset"] == str(record.origin.offset).encode()
        assert event.key in (record.key, None)
        if "sha256" in info:
            value = record.value or b""
            assert (info["size"], info["sha256"]) == (len(value), hashlib.sha256(value).hexdigest())
        else:
            _check_way_back(record, event)


def _check_way_back(record: Record, event: OutgoingEvent) -> None:
    """See that the event carries the whole original, and that it would be sorted as before."""
    try:
        back = unwrap(event.value)
    except InvalidRequest:
        # only where the original looked like one of our failed events itself
        assert b"failInfo" in (record.value or b"")
        return
    if back == record.value:
        return
    if _is_ours(record.value):
        # an earlier failure's fields were replaced
        return
    assert record.value is not None
    assert back == record.value.strip(_BLANKS)
    again = sort_record(replace(record, value=back), repeated=False, now_ms=NOW_MS)
    assert _essence(again) == _essence(sort_record(record, repeated=False, now_ms=NOW_MS))


def _essence(work: object) -> object:
    return work.enrolment if isinstance(work, SyncRequest) else type(work)


def _is_ours(value: bytes | None) -> bool:
    try:
        fields = _plainly(value or b"")
    except ValueError:
        return False
    return isinstance(fields, dict) and not {"jobName", "failInfo"}.isdisjoint(fields)


def _plainly(value: bytes) -> Any:
    # numbers as text: how Python holds them is another matter
    return json.loads(value.decode("utf-8"), parse_int=str, parse_float=str)


def _strictly(value: bytes) -> Any:
    def refuse(name: str) -> NoReturn:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(value.decode("utf-8"), parse_constant=refuse, parse_int=str_or_number, parse_float=str)


def str_or_number(text: str) -> int | str:
    """Read a whole number, or leave it as text where it has more digits than Python converts."""
    return int(text) if len(text) <= LONGEST_REASON else text


def _size(event: OutgoingEvent) -> int:
    headers = sum(len(name.encode("utf-8", "surrogatepass")) + len(value or b"") for name, value in event.headers)
    return len(event.key or b"") + len(event.value) + headers
