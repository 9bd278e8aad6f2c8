"""What lies on the failed topic, read, picked and counted."""

import json
from dataclasses import replace
from typing import Any

import pytest

from commands.failures import NO_FAILED_EVENT, Carried, Failure, Selection, Summary, read_failure
from reconciliation.failed_event import failed_event
from reconciliation.model import FinalFailure, Origin, Record
from reconciliation.requests import REPEATED_HEADER

ORIGIN = Origin("input", 1, 42, 1_000)
VALUE = b'{"edata":{"userId":"u","courseId":"c","batchId":"b"}}'


def failure(
    value: bytes | None = VALUE,
    *,
    reason: str = "RELATIONS_MISSING",
    failed_ms: int = 5_000,
    headers: tuple[tuple[str, bytes | None], ...] = (),
    max_bytes: int = 1_000_000,
    offset: int = 7,
) -> Failure:
    given = FinalFailure(reason, "why\x1b[2J", attempts=6, failed_at_ms=failed_ms)
    event = failed_event(Record(ORIGIN, b"key", value, headers), given, "failed", max_bytes)
    return read_failure(Record(Origin("failed", 0, offset, 9_000), event.key, event.value, event.headers))


def test_everything_is_read() -> None:
    read = failure()
    assert (read.reason, read.error, read.attempts, read.failed_ms) == ("RELATIONS_MISSING", "why\x1b[2J", 6, 5_000)
    assert (read.user_id, read.course_id, read.batch_id) == ("u", "c", "b")
    assert (read.carried, read.start, read.size) == (Carried.FIELDS, "", None)
    assert (read.origin, read.first, read.is_replay) == (ORIGIN, ORIGIN, False)


@pytest.mark.parametrize(
    ("value", "carried", "start"),
    [
        (b"hello", Carried.TEXT, "hello"),
        (b"\xff\x00", Carried.BYTES, "/wA="),
        (b"{}", Carried.TEXT, "{}"),
        (None, Carried.NOTHING, ""),
        (b'{"a":1}', Carried.FIELDS, ""),
    ],
)
def test_how_the_original_is_carried_is_told(value: bytes | None, carried: Carried, start: str) -> None:
    read = failure(value)
    assert (read.carried, read.start) == (carried, start)
    # the key stands for the learner where the original names none
    assert (read.user_id, read.course_id) == ("key", None)


def test_what_was_cut_says_how_large_it_was() -> None:
    read = failure(b"x" * 300_000, max_bytes=100_000)
    assert (read.carried, read.size, len(read.start)) == (Carried.CUT, 300_000, 120)


def test_a_failed_replay_knows_where_it_was_first_sent() -> None:
    read = failure(headers=((REPEATED_HEADER, b'["input",0,3,500]'),))
    assert (read.origin, read.first, read.is_replay) == (ORIGIN, Origin("input", 0, 3, 500), True)


@pytest.mark.parametrize(
    "value",
    [None, b"", b"\xff", b"[]", b'{"a":', b'{"jobName":"other","failInfo":{"errorCode":"X"}}', b'{"failInfo":{}}',
     b'{"jobName":"enrolment-reconciliation","failInfo":7}', b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_failed_event_is_shown_as_such(value: bytes | None) -> None:
    read = read_failure(Record(Origin("failed", 0, 7, 9_000), None, value))
    assert (read.reason, read.carried, read.failed_ms) == (NO_FAILED_EVENT, Carried.FOREIGN, 9_000)
    assert read.user_id is None


@pytest.mark.parametrize(
    "info",
    [{}, {"errorCode": None}, {"errorCode": "", "failedAt": "x", "attempts": [], "error": None}, {"failedAt": -1}],
)
def test_what_a_failed_event_lacks_is_made_up_for(info: dict[str, Any]) -> None:
    value = json.dumps({"a": 1, "jobName": "enrolment-reconciliation", "failInfo": info, "edata": 7}).encode()
    read = read_failure(Record(Origin("failed", 0, 7, 9_000), b"\xff", value))
    assert (read.reason, read.error, read.attempts, read.failed_ms) == ("(no reason)", "", None, 9_000)
    assert (read.user_id, read.carried) == ("\ufffd", Carried.FIELDS)


@pytest.mark.parametrize(
    ("wanted", "admitted"),
    [
        (Selection(), True),
        (Selection(reasons=frozenset({"RELATIONS_MISSING", "X"})), True),
        (Selection(reasons=frozenset({"X"})), False),
        (Selection(since_ms=5_000, until_ms=5_000), True),
        (Selection(since_ms=5_001), False),
        (Selection(until_ms=4_999), False),
        (Selection(user_id="u", course_id="c", batch_id="b"), True),
        (Selection(user_id="key"), False),
        (Selection(user_id="u", course_id="x"), False),
        (Selection(batch_id="x"), False),
    ],
)
def test_every_part_of_a_selection_must_fit(wanted: Selection, admitted: bool) -> None:
    assert wanted.admits(failure()) is admitted


def test_reasons_are_named_in_capitals_or_not() -> None:
    wanted = Selection(reasons=frozenset({"RELATIONS_MISSING"}))
    assert wanted.admits(failure(reason="relations_missing"))
    assert Selection().is_everything
    assert not wanted.is_everything


def test_a_summary_counts_by_reason() -> None:
    summary = Summary()
    for reason, failed_ms in (("A", 3), ("B", 9), ("B", 7), ("B", 8)):
        summary.add(failure(reason=reason, failed_ms=failed_ms))
    rows = [(reason, count.events, count.oldest_ms, count.newest_ms) for reason, count in summary.rows()]
    assert rows == [("B", 3, 7, 9), ("A", 1, 3, 3)]
    assert (summary.total.events, summary.total.oldest_ms, summary.total.newest_ms) == (4, 3, 9)
    assert summary.earliest_ms == 9_000


def test_invented_reasons_do_not_grow_without_end() -> None:
    summary = Summary()
    one = failure()
    for number in range(1_000):
        summary.add(replace(one, reason=f"R{number}"))
    assert len(summary.reasons) == 101
    assert summary.reasons["(others)"].events == 900
