"""The event of a request that was given up, and the way back to the original (docs/reconciliation.md, events)."""

import base64
import hashlib
import json
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciliation.errors import EventTooLarge, InvalidRequest
from reconciliation.failed_event import CARRIED_BYTES, failed_event, unwrap
from reconciliation.model import FinalFailure, Origin, OutgoingEvent, Record

ORIGIN = Origin("dev.batch.enrolment.sync.request", 3, 42, 1683556693275)
FAILURE = FinalFailure("RELATIONS_MISSING", "no leaf nodes for do_1", attempts=5, failed_at_ms=1_700_000_000_000)
FAIL_INFO = {
    "errorCode": "RELATIONS_MISSING",
    "error": "no leaf nodes for do_1",
    "attempts": 5,
    "failedAt": 1_700_000_000_000,
}
ORIGIN_HEADERS = {
    "original-topic": b"dev.batch.enrolment.sync.request",
    "original-partition": b"3",
    "original-offset": b"42",
    "original-timestamp": b"1683556693275",
}
MEGABYTE = 1_000_000


def give_up(
    value: bytes | None,
    *,
    key: bytes | None = b"user001",
    headers: tuple[tuple[str, bytes | None], ...] = (),
    failure: FinalFailure = FAILURE,
    max_bytes: int = MEGABYTE,
) -> OutgoingEvent:
    return failed_event(Record(ORIGIN, key, value, headers), failure, "dev.failed", max_bytes)


def strict(value: bytes) -> dict[str, Any]:
    def refuse(name: str) -> NoReturn:
        pytest.fail(f"{name} is not JSON")

    read: dict[str, Any] = json.loads(value.decode("utf-8"), parse_constant=refuse)
    return read


def size(event: OutgoingEvent) -> int:
    headers = sum(len(name.encode()) + len(value or b"") for name, value in event.headers)
    return len(event.key or b"") + len(event.value) + headers


def test_the_original_s_fields_are_kept_beside_the_reason() -> None:
    original = {"eid": "BE_JOB_REQUEST", "edata": {"action": "user-enrolment-sync", "userId": "ü"}, "n": 1.5}
    event = give_up(json.dumps(original).encode())
    assert (event.topic, event.key) == ("dev.failed", b"user001")
    assert strict(event.value) == {**original, "jobName": "enrolment-reconciliation", "failInfo": FAIL_INFO}
    assert dict(event.headers) == ORIGIN_HEADERS
    assert json.loads(unwrap(event.value) or b"") == original


@pytest.mark.parametrize(
    "fields",
    [
        b'"n":1e400,"m":-0,"k":0.12345678901234567890123',
        b'"digits":' + b"7" * 5000,
        b'"a":1,"a":{"b":2,"b":3}',
        rb'"\u0061":"\/ \ud800"',
        b' "a" : [ 1 , 2 ] ',
        b'"deep":' + b"[" * 900 + b"]" * 900,
        rb'"quoted":",\"jobName\":\"enrolment-reconciliation\",\"failInfo\":"',
        b'"nested":{"a":1,"jobName":"enrolment-reconciliation","failInfo":{"event":"x"}}',
    ],
)
def test_the_original_s_fields_stand_there_as_they_came(fields: bytes) -> None:
    original = b"{" + fields + b"}"
    event = give_up(b" \n" + original + b"\r\n")
    assert event.value.startswith(b"{" + fields + b',"jobName":"enrolment-reconciliation","failInfo":{')
    assert unwrap(event.value) == original


def test_an_event_that_somebody_wrote_anew_is_unwrapped_too() -> None:
    original = {"a": 1, "nested": {"a": 1, "jobName": "enrolment-reconciliation", "failInfo": {"event": "x"}}}
    ours = json.loads(give_up(json.dumps(original).encode()).value)
    for value in (json.dumps(dict(reversed(ours.items())), separators=(",", ":")), json.dumps(ours, indent=2)):
        assert json.loads(unwrap(value.encode()) or b"") == original


def test_an_earlier_failure_s_fields_are_replaced() -> None:
    event = give_up(b'{"a":1,"jobName":"other","failInfo":{"errorCode":"OLD","sha256":"x"}}')
    assert strict(event.value) == {"a": 1, "jobName": "enrolment-reconciliation", "failInfo": FAIL_INFO}
    assert unwrap(event.value) == b'{"a":1}'


def test_the_original_s_headers_are_carried_and_an_older_origin_is_replaced() -> None:
    event = give_up(b"{}", headers=(("trace", b"1"), ("empty", None), ("original-offset", b"7"), ("trace", b"2")))
    assert event.headers[:3] == (("trace", b"1"), ("empty", None), ("trace", b"2"))
    assert event.headers[3:] == tuple(ORIGIN_HEADERS.items())


def test_a_key_may_be_missing() -> None:
    assert give_up(b"{}", key=None).key is None


@pytest.mark.parametrize(
    "text",
    ["", "hello", '{"a":NaN}', "[1]", "null", '{"a":', "ü\u2028\x00\U0001f393", "\ufeff{}", "{}",
     ' {"jobName": "x"}', "[" * 50_000, '{"a":' * 50_000],
)  # fmt: skip
def test_what_is_no_object_with_fields_of_its_own_is_carried_as_text(text: str) -> None:
    event = give_up(text.encode())
    assert strict(event.value) == {"jobName": "enrolment-reconciliation", "failInfo": {**FAIL_INFO, "event": text}}
    assert unwrap(event.value) == text.encode()


@pytest.mark.parametrize("value", [b"\xff\xfe", b'{"a":"\xed\xa0\x80"}', bytes(range(256))])
def test_what_is_not_utf_8_is_carried_as_base64(value: bytes) -> None:
    event = give_up(value)
    assert strict(event.value)["failInfo"] == {**FAIL_INFO, "eventBase64": base64.b64encode(value).decode()}
    assert unwrap(event.value) == value


def test_a_missing_value_is_neither() -> None:
    event = give_up(None)
    assert strict(event.value) == {"jobName": "enrolment-reconciliation", "failInfo": FAIL_INFO}
    assert unwrap(event.value) is None


def test_half_surrogate_pairs_survive() -> None:
    event = give_up(rb'{"a":"\ud800","\udc00":["\udfff\ud83c"]}')
    assert event.value.isascii()
    assert json.loads(unwrap(event.value) or b"") == {"a": "\ud800", "\udc00": ["\udfff\ud83c"]}
    strange = FinalFailure("CODE", "half \ud800", attempts=1, failed_at_ms=1)
    assert strict(give_up(b"{}", failure=strange).value)["failInfo"]["error"] == "half \ud800"


def test_every_nesting_that_can_be_read_can_be_given_up() -> None:
    # around Python's recursion limit, where reading works and writing, some calls further down, does not
    for depth in (*range(850, 1001), 5_000, 100_000):
        value = b'{"a":' * depth + b"null" + b"}" * depth
        event = give_up(value)
        assert b'"failInfo"' in event.value


def test_no_nesting_breaks_the_way_back() -> None:
    # Python's releases stop reading at about 1,000 or at about 10,000 levels
    depths = [*range(850, 1001), 100_000]
    refused = 0
    for depth in depths:
        original = b'{"a":' * depth + b"null" + b"}" * depth
        ours = b'{"jobName":"enrolment-reconciliation","failInfo":{},' + original[1:]
        try:
            assert unwrap(ours) == original
        except InvalidRequest:
            refused += 1
    assert 0 < refused < len(depths)


def test_a_long_reason_is_cut() -> None:
    event = give_up(b'{"a":1}', failure=FinalFailure("CODE", "x" * 10**6, attempts=1, failed_at_ms=1))
    assert strict(event.value)["failInfo"]["error"] == "x" * 4000


@pytest.mark.parametrize("character", ["a", "ü", "\u2028", "\U0001f393", "\x00"])
@pytest.mark.parametrize("shift", [0, 1, 2, 3])
def test_a_text_too_large_is_cut_between_characters(character: str, shift: int) -> None:
    value = json.dumps({"p": "x" * shift, "a": character * 400_000}, ensure_ascii=False).encode()
    value = value if len(value) > MEGABYTE else value * 3
    event = give_up(value, headers=(("trace", b"1"),))
    fail_info = strict(event.value)["failInfo"]
    assert fail_info["size"] == len(value)
    assert fail_info["sha256"] == hashlib.sha256(value).hexdigest()
    carried = fail_info["event"].encode()
    assert value.startswith(carried)
    assert CARRIED_BYTES - 3 <= len(carried) <= CARRIED_BYTES
    assert {name: fail_info[name] for name in FAIL_INFO} == FAIL_INFO
    assert dict(event.headers) == {**ORIGIN_HEADERS, "trace": b"1"}
    assert event.key == b"user001"
    assert size(event) <= MEGABYTE
    with pytest.raises(InvalidRequest, match="only the start"):
        unwrap(event.value)


def test_bytes_too_large_are_cut_as_base64() -> None:
    value = b"\xff" * MEGABYTE
    fail_info = strict(give_up(value).value)["failInfo"]
    assert base64.b64decode(fail_info["eventBase64"]) == value[:CARRIED_BYTES]
    assert fail_info["size"] == MEGABYTE


def test_a_text_that_is_invalid_behind_the_cut_is_carried_as_base64() -> None:
    value = b"a" * MEGABYTE + b"\xff"
    assert "eventBase64" in strict(give_up(value).value)["failInfo"]


@pytest.mark.parametrize("spare", range(0, 400, 7))
def test_the_limit_holds_to_the_byte(spare: int) -> None:
    # between 'whole' and 'cut' nothing may be larger than what the topic takes
    event = give_up(b'{"a":"' + b"x" * 3000 + b'"}', max_bytes=4200 + spare)
    assert size(event) + 1024 <= 4200 + spare


def test_less_is_carried_where_the_topic_takes_less() -> None:
    event = give_up(b"\x00" * 10_000, max_bytes=9000)
    fail_info = strict(event.value)["failInfo"]
    assert 1000 < len(fail_info["event"]) < 1500
    assert size(event) <= 9000


@pytest.mark.parametrize("byte", [b"a", b"\x01", b"\xff", "ü".encode()])
def test_what_fits_is_carried_up_to_64_kib(byte: bytes) -> None:
    event = give_up(byte * 300_000, max_bytes=128 * 1024)
    assert 120_000 < size(event) + 1024 <= 128 * 1024 or len(carried(event)) == CARRIED_BYTES


def carried(event: OutgoingEvent) -> bytes:
    fail_info = strict(event.value)["failInfo"]
    return base64.b64decode(fail_info["eventBase64"]) if "eventBase64" in fail_info else fail_info["event"].encode()


def test_headers_and_then_the_key_give_way_to_the_reason() -> None:
    large = ("trace", b"x" * 5000)
    no_headers = give_up(b"{}", headers=(large,), max_bytes=4000)
    assert dict(no_headers.headers) == ORIGIN_HEADERS
    assert no_headers.key == b"user001"
    no_key = give_up(b"{}", key=b"k" * 5000, headers=(large,), max_bytes=4000)
    assert dict(no_key.headers) == ORIGIN_HEADERS
    assert no_key.key is None
    for event in (no_headers, no_key):
        assert strict(event.value)["failInfo"]["event"] == "{}"
        assert size(event) <= 4000
    assert ("trace", b"x" * 5000) in give_up(b"{}", headers=(large,), max_bytes=9000).headers


def test_a_missing_value_with_large_headers() -> None:
    event = give_up(None, headers=(("trace", b"x" * 5000),), max_bytes=4000)
    assert dict(event.headers) == ORIGIN_HEADERS
    assert strict(event.value)["failInfo"]["size"] == 0


def test_a_topic_that_takes_nothing_is_an_error() -> None:
    with pytest.raises(EventTooLarge, match="1100 bytes"):
        give_up(b"{}", max_bytes=1100)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[]",
        b'{"a":1}',
        b'{"jobName":"enrolment-reconciliation"}',
        b'{"jobName":"enrolment-reconciliation","failInfo":"x"}',
        b'{"jobName":"other","failInfo":{}}',
        b'{"jobName":"enrolment-reconciliation","failInfo":{"eventBase64":"*"}}',
        b'{"jobName":"enrolment-reconciliation","failInfo":{"eventBase64":"\xc3\xbc"}}',
        b'{"jobName":"enrolment-reconciliation","failInfo":{"eventBase64":"abc"}}',
        b'{"jobName":"enrolment-reconciliation","failInfo":{"event":"\\ud800"}}',
    ],
)
def test_what_is_no_failed_event_is_not_unwrapped(value: bytes) -> None:
    with pytest.raises(InvalidRequest):
        unwrap(value)


finite_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@given(st.none() | st.binary() | st.text().map(str.encode))
def test_any_bytes_come_back_as_they_were(value: bytes | None) -> None:
    event = give_up(value)
    strict(event.value)
    back = unwrap(event.value)
    # around a JSON object blanks are lost
    assert back in (value, (value or b"").strip(b" \t\r\n"))


@given(st.dictionaries(st.text(st.characters()), finite_json))
def test_any_object_comes_back_but_for_an_earlier_failure(original: dict[str, Any]) -> None:
    event = give_up(json.dumps(original).encode())
    strict(event.value)
    # through JSON once, which joins two halves of a surrogate pair
    back, expected = json.loads(unwrap(event.value) or b""), json.loads(json.dumps(original))
    own = {name: content for name, content in expected.items() if name not in {"jobName", "failInfo"}}
    assert back == (own or expected)


@given(
    st.none() | st.binary(max_size=3000) | st.text(max_size=1500).map(str.encode),
    st.none() | st.binary(max_size=3000),
    st.lists(st.tuples(st.text(max_size=20), st.none() | st.binary(max_size=2000)), max_size=3),
    st.integers(2000, 6000),
)
def test_no_event_is_larger_than_its_topic_takes(
    value: bytes | None, key: bytes | None, headers: list[tuple[str, bytes | None]], max_bytes: int
) -> None:
    event = give_up(value, key=key, headers=tuple(headers), max_bytes=max_bytes)
    strict(event.value)
    assert size(event) <= max_bytes
