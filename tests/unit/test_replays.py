"""From the failed topic back to the input topic, any number of times round (docs/reconciliation.md, events)."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciliation.errors import InvalidRequest
from reconciliation.failed_event import failed_event
from reconciliation.model import FinalFailure, Origin, OutgoingEvent, Record, SyncRequest
from reconciliation.replays import first_origin_of, origin_of, replayed
from reconciliation.requests import REPEATED_HEADER, parse

INPUT, FAILED = "input", "failed"
FIRST = Origin(INPUT, 1, 42, 1_000)
VALUE = b'{"edata":{"action":"user-enrolment-sync","userId":"u","courseId":"c","batchId":"b"},"n":1e400}'
FAILURE = FinalFailure("RELATIONS_MISSING", "no leaf nodes", attempts=6, failed_at_ms=5_000)


def landed(event: OutgoingEvent, origin: Origin) -> Record:
    return Record(origin, event.key, event.value, event.headers)


def given_up(record: Record, offset: int = 7, max_bytes: int = 1_000_000) -> Record:
    return landed(failed_event(record, FAILURE, FAILED, max_bytes), Origin(FAILED, 0, offset, 6_000))


def test_the_original_goes_back_with_its_key_its_headers_and_where_it_came_from() -> None:
    event = replayed(given_up(Record(FIRST, b"key", VALUE, (("trace", b"1"), ("none", None)))), INPUT)
    assert (event.topic, event.key, event.value) == (INPUT, b"key", VALUE)
    assert event.headers == (
        ("trace", b"1"),
        ("none", None),
        ("original-topic", b"input"),
        ("original-partition", b"1"),
        ("original-offset", b"42"),
        ("original-timestamp", b"1000"),
        (REPEATED_HEADER, b'["input",1,42,1000]'),
    )


def test_the_bridge_takes_it_for_repeated_and_as_old_as_it_is() -> None:
    again = landed(replayed(given_up(Record(FIRST, b"key", VALUE)), INPUT), Origin(INPUT, 1, 99, 9_000))
    request = parse(again)
    assert isinstance(request, SyncRequest)
    assert request.repeated
    assert request.record.origin == Origin(INPUT, 1, 99, 1_000)


def test_however_often_it_goes_round_it_is_known_as_the_same() -> None:
    record = Record(FIRST, b"key", VALUE, (("trace", b"1"),))
    for offset in (50, 60, 70):
        failed = given_up(record, offset)
        assert origin_of(failed) == record.origin
        assert first_origin_of(failed) == FIRST
        event = replayed(failed, INPUT)
        assert [name for name, _ in event.headers].count(REPEATED_HEADER) == 1
        assert [name for name, _ in event.headers].count("original-offset") == 1
        assert dict(event.headers)["original-timestamp"] == b"1000"
        # what the bridge gives up at once has the replay's own time in its headers
        record = landed(event, Origin(INPUT, 1, offset + 1000, 90_000 + offset))


def test_an_event_without_headers_is_known_by_its_own_place() -> None:
    bare = replace(given_up(Record(FIRST, b"key", VALUE)), headers=())
    assert origin_of(bare) is None
    assert first_origin_of(bare) == bare.origin
    event = replayed(bare, INPUT)
    assert event.headers == (
        ("original-timestamp", b"6000"),
        (REPEATED_HEADER, b'["failed",0,7,6000]'),
    )
    again = given_up(landed(event, Origin(INPUT, 0, 1, 9_000)), 8)
    assert first_origin_of(again) == bare.origin


@pytest.mark.parametrize(
    "content", [b"", b"1", b"\xff", b"[1,2]", b'["t","0",1,2]', b'["t",0,1,null]', b"[" * 100_000, None]
)
def test_a_repeated_header_that_says_nothing_is_passed_over(content: bytes | None) -> None:
    failed = given_up(Record(FIRST, None, VALUE, ((REPEATED_HEADER, content),)))
    assert first_origin_of(failed) == FIRST


@pytest.mark.parametrize("name", ["original-partition", "original-offset", "original-timestamp", "original-topic"])
@pytest.mark.parametrize("content", [b"", b"x", b"\xff", None])
def test_headers_that_say_nothing_are_passed_over(name: str, content: bytes | None) -> None:
    failed = given_up(Record(FIRST, None, VALUE))
    odd = replace(failed, headers=tuple((it, content if it == name else value) for it, value in failed.headers))
    if (name, content) != ("original-topic", b"x"):
        expected = None if name != "original-topic" or not content else "\ufffd"
        found = origin_of(odd)
        assert (found if expected is None else found and found.topic) == expected
    replayed(odd, INPUT)


def test_what_was_cut_or_had_no_value_can_not_go_back() -> None:
    with pytest.raises(InvalidRequest, match="only the start"):
        replayed(given_up(Record(FIRST, b"key", b"x" * 300_000), max_bytes=100_000), INPUT)
    with pytest.raises(InvalidRequest, match="no value"):
        replayed(given_up(Record(FIRST, b"key", None)), INPUT)
    with pytest.raises(InvalidRequest, match="no failed event"):
        replayed(Record(FIRST, b"key", b"{}"), INPUT)
    with pytest.raises(InvalidRequest):
        replayed(Record(FIRST, b"key", None), INPUT)


json_objects = st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.floats(allow_nan=False)).map(
    lambda fields: json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogatepass")
)


@given(
    st.binary() | st.text().map(str.encode) | json_objects,
    st.none() | st.binary(),
    st.lists(st.tuples(st.text(), st.none() | st.binary()), max_size=3),
)
def test_any_record_comes_back_byte_for_byte(
    value: bytes, key: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    original = Record(FIRST, key, value, tuple(headers))
    event = replayed(given_up(original), INPUT)
    # around a JSON object blanks are lost, and nothing else ever
    assert event.value in (value, value.strip(b" \t\r\n"))
    assert event.key == key
    own = tuple(header for header in headers if not header[0].startswith(("original-", REPEATED_HEADER)))
    assert event.headers[: len(own)] == own
