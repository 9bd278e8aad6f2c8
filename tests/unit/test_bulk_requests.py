"""A bulk run's requests and its pace."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk.pace import SubmissionRate
from bulk.requests import bulk_request
from bulk.runs import Run, RunCounts, RunState, decode_run, encode_run, new_run_id
from reconciliation.bulk_origin import is_of_run
from reconciliation.errors import SettingsError
from reconciliation.failed_event import failed_event
from reconciliation.model import EnrolmentKey, FinalFailure, Origin, Record
from reconciliation.replays import origin_of, replayed
from reconciliation.requests import parse
from reconciliation.settings import load_settings

KEY = EnrolmentKey('us"er', "курс", "batch")
NOW_MS = 1_700_000_000_123


def test_a_request_is_the_same_for_a_run_and_an_enrolment_and_for_no_other() -> None:
    one = bulk_request("run-1", KEY, NOW_MS)
    again = bulk_request("run-1", KEY, NOW_MS + 5_000)
    assert (one.entry_id, one.record.origin.offset) == (again.entry_id, again.record.origin.offset)
    others = [bulk_request("run-2", KEY, NOW_MS), bulk_request("run-1", EnrolmentKey('us"er', "курс", "b"), NOW_MS)]
    assert len({it.entry_id for it in (one, *others)}) == 3
    assert len({it.record.origin.offset for it in (one, *others)}) == 3
    assert (one.run, one.record.origin.topic, one.repeated) == ("run-1", "bulk:run-1", False)
    assert is_of_run(one.record.origin)
    assert not is_of_run(Origin("bulk", 0, 1, 1))


@given(st.text(max_size=5), st.text(max_size=5))
def test_an_offset_is_what_redis_holds_exactly(user: str, course: str) -> None:
    key = EnrolmentKey(*(text.encode(errors="ignore").decode() for text in (user, course, "batch")))
    offset = bulk_request("run", key, NOW_MS).record.origin.offset
    assert 0 <= offset < 2**53
    assert int(float(offset)) == offset


def test_what_is_given_up_can_be_replayed_as_a_click() -> None:
    request = bulk_request("run-1", KEY, NOW_MS)
    event = failed_event(request.record, FinalFailure("CODE", "text", 1, 2), "failed", 100_000)
    failed = Record(Origin("failed", 0, 0, NOW_MS), event.key, event.value, event.headers)
    assert origin_of(failed) == request.record.origin
    sent = replayed(failed, "input")
    assert json.loads(sent.value) == json.loads(request.record.value or b"")
    parsed = parse(Record(Origin("input", 0, 7, NOW_MS + 9), sent.key, sent.value, sent.headers))
    assert not isinstance(parsed, str)
    assert getattr(parsed, "enrolment", None) == KEY


def test_without_a_rate_the_pace_is_as_fast_as_may_be() -> None:
    pace = SubmissionRate(None, 0.0)
    pace.spend(10_000)
    assert (pace.allowed(500, 0.0), pace.wait()) == (500, 0.0)


@pytest.mark.parametrize("rate", [0.5, 1, 20, 1000])
def test_a_rate_is_kept_over_any_time(rate: float) -> None:
    pace, submitted, now = SubmissionRate(rate, 0.0), 0, 0.0
    while now < 60:
        count = pace.allowed(50, now)
        pace.spend(count)
        submitted += count
        now += 0.01 if count else min(1.0, max(0.001, pace.wait()))
    assert submitted <= 60 * rate + max(1, rate / 4) + 1
    assert submitted >= 60 * rate * 0.9 - 1


def test_what_was_not_used_does_not_come_at_once_later() -> None:
    pace = SubmissionRate(100, 0.0)
    assert pace.allowed(10_000, 3600.0) == 25


def test_a_rate_is_submitted_in_tenths_of_a_second() -> None:
    pace = SubmissionRate(100, 0.0)
    pace.spend(25)
    assert pace.allowed(50, 0.06) == 0
    assert pace.wait() == pytest.approx(0.04)
    assert pace.allowed(50, 0.11) == 11
    pace.spend(11)
    assert pace.allowed(3, 0.15) == 3


def test_run_ids_sort_by_time() -> None:
    first = new_run_id(datetime(2026, 1, 31, 14, 30, 5, tzinfo=UTC), "3fa2b7")
    assert first == "20260131-143005-3fa2"
    assert first < new_run_id(datetime(2026, 1, 31, 14, 30, 6, tzinfo=UTC), "0000")


def test_a_record_comes_back_as_it_was_and_what_is_newer_is_passed_over() -> None:
    run = Run("run", '{"a": 1}', "{}", 5, RunState.INTERRUPTED, 9, -(2**63), 7, 3, "asked")
    assert decode_run(encode_run(run).encode()) == run
    assert decode_run(json.dumps({**json.loads(encode_run(run)), "newer": 1}).encode()) == run


def test_settled_is_what_is_neither_open_nor_given_up() -> None:
    assert RunCounts(submitted=10, collapsed=4, given_up=2, open=3).settled == 5


def test_no_group_is_called_as_another_s_queue_of_bulk_runs() -> None:
    assert load_settings({"KAFKA_GROUPID": "group"}).bulk_queue == "group-bulk"
    with pytest.raises(SettingsError, match="queue of another group's bulk runs"):
        load_settings({"KAFKA_GROUPID": "group-bulk"})
