"""What each courtesy changes, and that nothing is changed while it is off (docs/courtesies.md)."""

# ruff: noqa: S608 - texts to compare with, which nobody runs

import re
from dataclasses import replace

import pytest

from bridge.intake import sort_record
from commands.checking.cassandra_seen import expected_tables
from reconciliation.completion_time import EARLIEST_MS, completed_anew, completion_time, latest_completion
from reconciliation.from_settings import course_list, rules, store_config
from reconciliation.model import (
    Attempt,
    Completion,
    Consumption,
    CourseRelations,
    EnrolmentKey,
    EnrolmentRow,
    Look,
    Origin,
    Plan,
    Record,
    SyncRequest,
    Verdict,
)
from reconciliation.progress import Rules, completion_percentage, plan
from reconciliation.redis_options import course_list_client
from reconciliation.requests import Skip, parse
from reconciliation.settings import load_settings
from reconciliation.statements import Tables, read_texts, statement_texts
from reconciliation.store_connection import worker_texts
from tests.support.events import encoded, sync_event
from tests.support.installation import new_learner

KEY = EnrolmentKey("user", "course", "batch")
NOW_MS = 1_700_000_000_123
STAMP_US = NOW_MS * 1000
REQUESTED_MS = NOW_MS - 1_000
SKEW_MS = 300_000
TABLES = Tables("k", "one", "two", "three")
DATED = Rules(completed_on_from_consumption=True)
COUNTED = Rules(completion_percentage_written=True)


def decide(
    contents: dict[str, tuple[int, int | None]],
    row: EnrolmentRow | None = EnrolmentRow(1, None, 500, 900),  # noqa: B008 - frozen
    *,
    by: Rules = DATED,
    required: str = "abc",
    optional: str = "",
    owed_ms: int | None = None,
    repeated: bool = False,
) -> Plan:
    """Plan for a learner whose contents have these statuses and times of completion."""
    relations = CourseRelations({"course": frozenset(required)}, {"course": frozenset(optional)})
    look = Look(tuple(Consumption(name, *cells) for name, cells in contents.items()), row)
    attempt = Attempt("entry", KEY, REQUESTED_MS, owed_ms=owed_ms, repeated=repeated)
    return plan(attempt, look, relations, by, stamp_us=STAMP_US, now_ms=NOW_MS, collection_status=None)


DONE: dict[str, tuple[int, int | None]] = {
    "a": (2, NOW_MS - 3_000),
    "b": (2, NOW_MS - 1_000),
    "c": (2, NOW_MS - 2_000),
}


def completed_on(decided: Plan) -> int | None:
    assert decided.enrolment is not None
    if decided.completion is not None:
        assert decided.completion.completed_on_ms == decided.enrolment.completed_on_ms
    return decided.enrolment.completed_on_ms


def test_with_the_defaults_the_statements_are_what_they_were() -> None:
    key = "WHERE userid = ? AND courseid = ? AND batchid = ?"
    texts = worker_texts(store_config(load_settings({})), TABLES)
    assert texts == statement_texts(TABLES, write_timestamps=True)
    assert texts.read_consumption == f"SELECT contentid, status FROM k.one {key}"
    assert texts.read_enrolment == (
        "SELECT status, toUnixTimestamp(completedon), WRITETIME(status), WRITETIME(completedon), WRITETIME(progress), "
        f"WRITETIME(datetime), WRITETIME(active) FROM k.two {key}"
    )
    update = "UPDATE k.two USING TIMESTAMP ? SET"
    assert texts.write_enrolment == f"{update} progress = ?, contentstatus = ?, datetime = ? {key}"
    assert texts.write_completed_enrolment == (
        f"{update} progress = ?, contentstatus = ?, datetime = ?, completedon = ?, status = ? {key}"
    )
    assert texts.write_status == f"{update} status = ? {key}"
    assert read_texts(TABLES).compare_consumption == (
        f"SELECT contentid, status, WRITETIME(status) FROM k.one {key} LIMIT ?"
    )


def test_each_statement_differs_where_its_courtesy_is_on_alone() -> None:
    plain = worker_texts(store_config(load_settings({})), TABLES)
    dated = worker_texts(store_config(load_settings({"ENROLMENT_COMPLETEDON_FROM_CONSUMPTION": "true"})), TABLES)
    counted = worker_texts(store_config(load_settings({"ENROLMENT_COMPLETIONPERCENTAGE_WRITE": "true"})), TABLES)
    assert dated == replace(plain, read_consumption=dated.read_consumption)
    assert "toUnixTimestamp(last_completed_time), lastcompletedtime FROM" in dated.read_consumption
    assert counted == replace(
        plain,
        write_enrolment=plain.write_enrolment.replace("datetime = ?", "datetime = ?, completionpercentage = ?"),
        write_completed_enrolment=plain.write_completed_enrolment.replace(
            "datetime = ?", "datetime = ?, completionpercentage = ?"
        ),
    )


def test_with_the_defaults_nothing_is_decided_otherwise() -> None:
    assert rules(load_settings({})) == Rules()
    decided = decide(DONE, by=Rules())
    assert completed_on(decided) == NOW_MS
    assert decided.enrolment is not None
    assert decided.enrolment.completion_percentage is None
    # a completion that was written late, of long ago, is not taken for the answer to a repeated request
    late = EnrolmentRow(2, REQUESTED_MS - SKEW_MS - 1, 500, 900, completed_on_written_us=STAMP_US)
    assert decide(DONE, late, by=Rules(), repeated=True).completion is None
    assert course_list(load_settings({})) is None


def test_completedon_is_the_latest_time_of_what_is_required() -> None:
    assert completed_on(decide(DONE)) == NOW_MS - 1_000
    assert completed_on(decide({**DONE, "optional": (2, NOW_MS), "foreign": (2, NOW_MS)}, optional="o")) == (
        NOW_MS - 1_000
    )
    # a content that counts no more says nothing of when the rest was done
    assert completed_on(decide(DONE, optional="b")) == NOW_MS - 2_000
    # nor does one that is not completed now
    assert completed_on(decide({**DONE, "d": (1, NOW_MS - 1)}, required="abc")) == NOW_MS - 1_000


def test_completedon_is_now_where_nothing_tells_and_never_later() -> None:
    assert completed_on(decide(dict.fromkeys("abc", (2, None)))) == NOW_MS
    assert completed_on(decide({**DONE, "b": (2, None)})) == NOW_MS - 2_000
    assert completed_on(decide({**DONE, "b": (2, NOW_MS + 60_000)})) == NOW_MS
    assert completed_on(decide({"foreign": (2, NOW_MS - 5)}, required="")) == NOW_MS
    assert latest_completion(frozenset("a"), [], NOW_MS) == NOW_MS


def test_a_debt_keeps_the_completedon_that_it_was_recorded_with() -> None:
    assert completed_on(decide(DONE, owed_ms=77)) == 77


def test_without_the_filter_a_completedon_that_is_set_stays() -> None:
    unfiltered = replace(DATED, filter_processed_enrolments=False)
    decided = decide(DONE, EnrolmentRow(2, 55, 500, 900), by=unfiltered)
    assert completed_on(replace(decided, completion=None)) is None
    assert decided.completion == Completion(KEY, 55)
    assert completed_on(decide(DONE, None, by=unfiltered)) == NOW_MS - 1_000


@pytest.mark.parametrize(
    ("on_ms", "written_ms", "announced"),
    [
        (5_000, REQUESTED_MS, True),
        (5_000, REQUESTED_MS - SKEW_MS, True),
        (5_000, REQUESTED_MS - SKEW_MS - 1, False),
        (5_000, None, False),
        (REQUESTED_MS, 1, True),
    ],
)
def test_a_repeated_request_knows_its_completion_by_when_it_was_written(
    on_ms: int, written_ms: int | None, *, announced: bool
) -> None:
    written_us = None if written_ms is None else written_ms * 1000
    row = EnrolmentRow(2, on_ms, 500, 900, completed_on_written_us=written_us)
    assert decide(DONE, row, repeated=True).completion == (Completion(KEY, on_ms) if announced else None)
    assert decide(DONE, row).completion is None


def test_a_completion_that_was_announced_before_is_renamed_only_where_it_is_written() -> None:
    anew = completed_anew(decide(DONE), NOW_MS + 9)
    assert anew is not None
    assert completed_on(anew) == NOW_MS + 9
    assert anew.completion == Completion(KEY, NOW_MS + 9)
    assert completed_anew(decide(DONE, EnrolmentRow(2, 77, 500, 900), owed_ms=77), NOW_MS) is None
    assert completed_anew(Plan(Verdict.IN_PROGRESS), NOW_MS) is None


@pytest.mark.parametrize(
    ("at_ms", "text", "found"),
    [
        (None, None, None),
        (NOW_MS, None, NOW_MS),
        (NOW_MS, "2023-05-08 10:00:00:250+0000", NOW_MS),
        (None, "2023-05-08 10:00:00:250+0000", 1_683_540_000_250),
        (None, " 2023-05-08 10:00:00:250+0530\n", 1_683_520_200_250),
        (None, "2023-05-08T10:00:00.250Z", 1_683_540_000_250),
        (None, "2023-05-08 10:00:00", 1_683_540_000_000),
        (0, "2023-05-08 10:00:00:250+0000", 1_683_540_000_250),
        (EARLIEST_MS, None, EARLIEST_MS),
        (EARLIEST_MS - 1, None, None),
        (-(2**63), None, None),
        (2**63 - 1, None, 2**63 - 1),
        (None, "1999-12-31 23:59:59:999+0000", None),
        (None, "0001-01-01T00:00:00+14:00", None),
        (None, "", None),
        (None, "yesterday", None),
        (None, "1683540000250", None),
        (None, "2023-13-08 10:00:00:250+0000", None),
    ],
)
def test_when_a_content_was_completed(at_ms: int | None, text: str | None, found: int | None) -> None:
    assert completion_time(at_ms, text) == found


@pytest.mark.parametrize(
    ("count", "required", "percentage"),
    [(0, 0, 100), (0, 3, 0), (1, 3, 33), (2, 3, 66), (3, 3, 100), (4, 3, 100), (199, 200, 99), (1, 500, 0)],
)
def test_percentages_are_rounded_down_and_full_only_at_the_end(count: int, required: int, percentage: int) -> None:
    assert completion_percentage(count, required) == percentage


@pytest.mark.parametrize(
    ("contents", "optional", "percentage"),
    [("", "", 0), ("a", "", 33), ("a", "b", 50), ("abc", "", 100), ("", "abc", 100)],
)
def test_the_percentage_is_of_what_is_required(contents: str, optional: str, percentage: int) -> None:
    decided = decide({"foreign": (2, None), **dict.fromkeys(contents, (2, None))}, by=COUNTED, optional=optional)
    assert decided.enrolment is not None
    assert decided.enrolment.completion_percentage == percentage
    assert decided.verdict is (Verdict.COMPLETED if percentage == 100 else Verdict.IN_PROGRESS)


def test_a_merged_account_s_request_is_taken_where_it_is_accepted() -> None:
    learner = new_learner()
    event = sync_event(learner, action="Batch-Enrolment-Sync", reset=["completionPercentage", "status", "progress"])
    record = Record(Origin("topic", 0, 7, NOW_MS), None, encoded(event))
    assert parse(record) == Skip("edata.action is not user-enrolment-sync")
    assert sort_record(record, repeated=False, now_ms=NOW_MS) is None
    taken = sort_record(record, repeated=False, now_ms=NOW_MS, batch_sync=True)
    assert isinstance(taken, SyncRequest)
    assert taken.enrolment == EnrolmentKey(*learner.ids)
    other = replace(record, value=encoded(sync_event(learner, action="batch-status-update")))
    assert parse(other, batch_sync=True) == Skip("edata.action is not user-enrolment-sync or batch-enrolment-sync")
    ours = replace(record, value=encoded(sync_event(learner)))
    assert isinstance(parse(ours, batch_sync=True), SyncRequest)


@pytest.mark.parametrize(
    "environment",
    [{"ENROLMENT_COMPLETEDON_FROM_CONSUMPTION": "true", "ENROLMENT_COMPLETIONPERCENTAGE_WRITE": "true"}, {}],
)
def test_check_expects_the_columns_that_the_statements_use(environment: dict[str, str]) -> None:
    settings = load_settings(environment)
    texts = worker_texts(store_config(settings), TABLES)
    names = ("one", "two", "three")
    for name, expected in zip(names, expected_tables(settings).values(), strict=True):
        of_table = [text for field in texts.__slots__ if f" k.{name}" in (text := getattr(texts, field))]
        used = {word for text in of_table for word in re.findall(r"\b[a-z_]+\b", text)} - {"k", name}
        assert used == set(expected.columns), name


def test_the_cache_of_course_lists_is_reached_as_the_relation_cache_is_unless_it_has_a_url() -> None:
    beside = {"REDIS_HOST": "h", "REDIS_PORT": "1234", "REDIS_USERNAME": "u", "REDIS_PASSWORD": "p"}
    beside |= {"REDIS_SSL_ENABLED": "true"}
    found = course_list_client(load_settings(beside), 0.7).connection_pool.connection_kwargs
    assert {name: found[name] for name in ("host", "port", "db", "username", "password")} == {
        "host": "h",
        "port": 1234,
        "db": 0,
        "username": "u",
        "password": "p",
    }
    assert (found["socket_timeout"], found["socket_connect_timeout"]) == (0.7, 0.7)
    url = "rediss://lms:pw@cache:6380/2"
    own = course_list_client(load_settings({**beside, "ENROLMENT_CACHE_REDIS_URL": url}), 0.7)
    found = own.connection_pool.connection_kwargs
    assert [found[name] for name in ("host", "port", "db", "username", "password")] == ["cache", 6380, 2, "lms", "pw"]
    assert (found["socket_timeout"], found["socket_connect_timeout"]) == (0.7, 0.7)
