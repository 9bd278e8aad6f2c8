"""Which records are requests, which are not ours, and which can't be requests (docs/reconciliation.md, who asks)."""

import dataclasses
import json
import uuid
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciliation.errors import InvalidRequest
from reconciliation.model import EnrolmentKey, Origin, Record, SyncRequest
from reconciliation.requests import (
    LARGEST_REQUEST_BYTES,
    ORIGINAL_TIMESTAMP_HEADER,
    REPEATED_HEADER,
    Skip,
    parse,
    read_object,
    request_id,
)

ORIGIN = Origin("dev.batch.enrolment.sync.request", 3, 42, 1683556693275)
IDS = ("userId", "courseId", "batchId")
EVENT: dict[str, Any] = {
    "eid": "BE_JOB_REQUEST",
    "ets": 1683556693275,
    "mid": "LP.1683556693275.a18caaec-50ac-4c19-bcfe-84e2ad9aa5eb",
    "actor": {"type": "System", "id": "Course Batch Updater"},
    "context": {"pdata": {"ver": "1.0", "id": "org.sunbird.platform"}},
    "object": {"type": "CourseBatchEnrolment", "id": "0131029098223779842_fbe926ac-a395-40e4-a65b-9b4f711d7642"},
    "edata": {
        "action": "user-enrolment-sync",
        "iteration": 1,
        "batchId": "0131029098223779842",
        "userId": "fbe926ac-a395-40e4-a65b-9b4f711d7642",
        "courseId": "do_21310287978188800014457",
    },
}


def record(value: bytes | None, headers: tuple[tuple[str, bytes | None], ...] = ()) -> Record:
    return Record(ORIGIN, key=b"fbe926ac", value=value, headers=headers)


def event(**edata: Any) -> bytes:
    return json.dumps({**EVENT, "edata": {**EVENT["edata"], **edata}}).encode()


def refusal(value: bytes | None) -> str:
    with pytest.raises(InvalidRequest) as raised:
        parse(record(value))
    # nothing that would bring the record's text into a traceback
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
    return str(raised.value)


def test_a_request_is_read() -> None:
    given_record = record(event(unknown={"kept": True}))
    assert parse(given_record) == SyncRequest(
        entry_id=request_id(ORIGIN),
        enrolment=EnrolmentKey(
            "fbe926ac-a395-40e4-a65b-9b4f711d7642", "do_21310287978188800014457", "0131029098223779842"
        ),
        record=given_record,
        repeated=False,
    )


def _of_size(size: int, *, key: bytes, headers: tuple[tuple[str, bytes | None], ...]) -> Record:
    rest = len(event(unknown="")) + len(key) + sum(len(name) + len(value or b"") for name, value in headers)
    return Record(ORIGIN, key, event(unknown="x" * (size - rest)), headers)


@pytest.mark.parametrize(
    ("key", "headers"), [(b"", ()), (b"k" * 60_000, ()), (b"k", (("name", b"x" * 30_000), ("name", None)) * 2)]
)
def test_a_record_that_would_fill_the_ledger_is_refused(
    key: bytes, headers: tuple[tuple[str, bytes | None], ...]
) -> None:
    """The ledger's bound counts requests, and it keeps each with what it does not know."""
    assert 50 * len(event()) < LARGEST_REQUEST_BYTES
    assert isinstance(parse(_of_size(LARGEST_REQUEST_BYTES, key=key, headers=headers)), SyncRequest)
    with pytest.raises(InvalidRequest) as raised:
        parse(_of_size(LARGEST_REQUEST_BYTES + 1, key=key, headers=headers))
    assert str(raised.value) == "the record takes 65537 bytes; 65536 are allowed"


def test_a_large_record_that_is_not_ours_is_skipped() -> None:
    assert isinstance(parse(record(event(action="another", unknown="x" * 10**6))), Skip)


@pytest.mark.parametrize("action", ["user-enrolment-sync", "USER-ENROLMENT-SYNC", "User-Enrolment-Sync"])
def test_the_action_is_compared_without_case(action: str) -> None:
    assert isinstance(parse(record(event(action=action))), SyncRequest)


def test_a_request_needs_no_mid() -> None:
    assert isinstance(parse(record(json.dumps({"edata": EVENT["edata"]}).encode())), SyncRequest)


@pytest.mark.parametrize("value", [b"", b"1", None])
def test_a_header_marks_a_repeated_request(value: bytes | None) -> None:
    request = parse(record(event(), headers=(("other", b"1"), (REPEATED_HEADER, value))))
    assert isinstance(request, SyncRequest)
    assert request.repeated


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"1000", 1000),
        (b"9" * 30, ORIGIN.timestamp_ms),
        (b"-5", 0),
        (b"soon", ORIGIN.timestamp_ms),
        (None, ORIGIN.timestamp_ms),
    ],
)
def test_a_repeated_request_is_as_old_as_when_it_was_first_sent(header: bytes | None, expected: int) -> None:
    headers = ((REPEATED_HEADER, b""), (ORIGINAL_TIMESTAMP_HEADER, header))
    request = parse(record(event(), headers=headers))
    assert isinstance(request, SyncRequest)
    assert request.record.origin.timestamp_ms == expected
    assert request.entry_id == request_id(ORIGIN)


def test_the_time_that_a_header_names_means_nothing_unless_the_request_is_repeated() -> None:
    request = parse(record(event(), headers=((ORIGINAL_TIMESTAMP_HEADER, b"1"),)))
    assert isinstance(request, SyncRequest)
    assert request.record.origin.timestamp_ms == ORIGIN.timestamp_ms


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"9" * 5000])
def test_a_number_that_python_can_not_hold_is_json_all_the_same(number: bytes) -> None:
    assert isinstance(parse(record(b'{"later":' + number + b"," + event()[1:])), SyncRequest)
    assert isinstance(parse(record(b'{"a":' + number + b"}")), Skip)
    with pytest.raises(InvalidRequest, match=r"too large|too many digits"):
        read_object(b'{"a":' + number + b"}", exact=True)


def test_the_header_is_the_one_that_operators_know() -> None:
    assert REPEATED_HEADER == "enrolment-reconciliation-repeated"


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"edata": None},
        {"edata": []},
        {"edata": "user-enrolment-sync"},
        {"edata": {}},
        {"edata": {"action": None}},
        {"edata": {"action": 7}},
        {"edata": {"action": ["user-enrolment-sync"]}},
        {"edata": {"action": "user-enrolment-sync "}},
        {"edata": {"action": "issue-certificate", "userId": None}},
    ],
)
def test_other_objects_are_not_ours(content: dict[str, Any]) -> None:
    assert isinstance(parse(record(json.dumps(content).encode())), Skip)


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("wrong", [None, 7, 7.5, True, [], {}, ["a"]])
def test_an_id_that_is_no_string_is_refused(name: str, wrong: Any) -> None:
    assert refusal(event(**{name: wrong})) == f"edata.{name} is missing or not a string"


@pytest.mark.parametrize("name", IDS)
def test_a_missing_id_is_refused(name: str) -> None:
    edata = {field: content for field, content in EVENT["edata"].items() if field != name}
    assert refusal(json.dumps({"edata": edata}).encode()) == f"edata.{name} is missing or not a string"


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("blank", ["", " ", "\t\r\n", "\u00a0\u2003"])
def test_a_blank_id_is_refused(name: str, blank: str) -> None:
    assert refusal(event(**{name: blank})) == f"edata.{name} is blank"


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("half", ["\ud83d", "secret\udc00"])
def test_an_id_that_utf_8_cannot_carry_is_refused(name: str, half: str) -> None:
    reason = refusal(event(**{name: half}))
    assert reason == f"edata.{name} contains what UTF-8 can't carry"


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("longest", ["x" * 1024, "ü" * 512, "\U0001f393" * 256])
def test_an_id_may_take_1024_bytes_and_no_more(name: str, longest: str) -> None:
    assert isinstance(parse(record(event(**{name: longest}))), SyncRequest)
    assert refusal(event(**{name: longest + "x"})) == f"edata.{name} takes 1025 bytes; 1024 are allowed"


def test_a_reason_does_not_repeat_an_id_that_is_too_long() -> None:
    assert refusal(event(userId="x" * 1_000_000)) == "edata.userId takes 1000000 bytes; 1024 are allowed"


def test_of_a_name_given_twice_the_last_one_counts() -> None:
    first = b'{"edata":{"action":"user-enrolment-sync","userId":"1","courseId":"c","batchId":"b"},'
    second = b'"edata":{"action":"other","action":"User-Enrolment-Sync","userId":"2","userId":"3","courseId":"c",'
    request = parse(record(first + second + b'"batchId":"b","userId":"4"}}'))
    assert isinstance(request, SyncRequest)
    assert request.enrolment.user_id == "4"
    assert isinstance(parse(record(first + b'"edata":{}}')), Skip)
    assert refusal(first[:-2] + b',"userId":null}}') == "edata.userId is missing or not a string"


def test_ids_beyond_ascii_are_taken_as_they_are() -> None:
    request = parse(record(event(userId=" ശ്രീ\U0001f393 ")))
    assert isinstance(request, SyncRequest)
    assert request.enrolment.user_id == " ശ്രീ\U0001f393 "


def test_half_a_surrogate_pair_elsewhere_is_no_obstacle() -> None:
    assert isinstance(parse(record(event(other="\ud800"))), SyncRequest)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "no value"),
        (b"", "not JSON at character 0"),
        (b"   ", "not JSON"),
        (b"not json", "not JSON"),
        (b"{", "not JSON"),
        (b'{"a":1}x', "not JSON at character 7"),
        (b"{'a':1}", "not JSON"),
        (b'{"a":1,}', "not JSON"),
        (b'{"a":01}', "not JSON"),
        (b'{"a":.5}', "not JSON"),
        (b'{"a":"\n"}', "not JSON"),
        (b'{"a":"\\x"}', "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"a":NaN}', "not JSON"),
        (b'{"a":Infinity}', "not JSON"),
        (b'{"a":-Infinity}', "not JSON"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":"\xff"}', "not UTF-8 at byte 6"),
        ('{"a":1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8"),
        (b'{"a":"\xc0\xaf"}', "not UTF-8"),
        (b"[]", "no object"),
        (b'"text"', "no object"),
        (b"7", "no object"),
        (b"null", "no object"),
        (b"true", "no object"),
    ],
)
def test_what_is_no_json_object_is_refused(value: bytes | None, reason: str) -> None:
    assert reason in refusal(value)


def test_reasons_do_not_repeat_the_value() -> None:
    for value in (b'{"secret', b'"secret"', b"secret", b'{"secret":NaN}', event(userId="\ud800secret")):
        assert "secret" not in refusal(value)


def test_the_entry_id_comes_from_the_place_on_kafka_alone() -> None:
    ids = {
        request_id(Origin(topic, partition, offset, 0))
        for topic, partition, offset in [
            ("topic", 1, 11),
            ("topic", 11, 1),
            ("topic1", 1, 1),
            ("topic", 1, 1),
            ("topi", 1, 1),
        ]
    }
    assert len(ids) == 5
    assert request_id(dataclasses.replace(ORIGIN, timestamp_ms=1)) == request_id(ORIGIN)
    assert uuid.UUID(request_id(ORIGIN)).version == 5


def test_entry_ids_stay_the_same_from_release_to_release() -> None:
    assert request_id(ORIGIN) == "6a638968-6a06-5d38-88f7-97ded23126ec"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
edata_values = st.dictionaries(
    st.sampled_from(["action", *IDS]), json_values | st.sampled_from(["user-enrolment-sync", "id", "\ud800", " "])
)


def answer(value: bytes | None) -> SyncRequest | Skip | None:
    try:
        return parse(record(value))
    except InvalidRequest:
        return None


@given(st.binary())
@example(b"\x00" * 10)
def test_no_bytes_break_the_parser(value: bytes) -> None:
    answer(value)


@given(json_values | st.fixed_dictionaries({"edata": edata_values}))
def test_no_json_breaks_the_parser_and_every_request_can_be_carried(content: Any) -> None:
    found = answer(json.dumps(content).encode())
    if isinstance(found, SyncRequest):
        for identifier in dataclasses.astuple(found.enrolment):
            assert identifier.strip()
            assert identifier.encode("utf-8").decode("utf-8") == identifier


@given(st.text('{}[]",:0123456789eE+-.\\u NaInfity\ufeff\n'))
def test_what_is_read_is_json_in_the_strict_sense(text: str) -> None:
    try:
        content = read_object(text.encode())
    except InvalidRequest:
        return
    json.dumps(content, allow_nan=False)
