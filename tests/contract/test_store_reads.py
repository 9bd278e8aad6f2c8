"""What the store reads of rows that stand in Cassandra, and how it connects."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cassandra.concurrent import execute_concurrent_with_args
from cassandra.io.libevreactor import LibevConnection

from reconciliation.comparison import LearnerRows
from reconciliation.counters import Counters
from reconciliation.enrolment_store import EnrolmentStore, StoreConfig
from reconciliation.errors import RequestFailed, SettingsError, StoreUnavailable
from reconciliation.learner_reader import LearnerReader
from reconciliation.model import Consumption, EnrolmentKey, EnrolmentRow, EnrolmentWrite, Look, StatusWrite


def test_a_look_brings_consumption_and_enrolment(
    store: EnrolmentStore, database: Any, counters: Counters, key: EnrolmentKey
) -> None:
    database.consume(key, "do_1", 2)
    database.consume(key, "do_2", None)
    database.consume(key, "do_3", 0)
    database.enrol(key, 1_000, status=1, progress=4, datetime=9_000)
    database.enrol(key, 3_000, progress=5)
    nobody = EnrolmentKey("nobody", key.course_id, key.batch_id)

    looks = store.look([key, nobody])

    assert looks == [
        Look(
            (Consumption("do_1", 2), Consumption("do_2", 1), Consumption("do_3", 0)),
            EnrolmentRow(status=1, completed_on_ms=None, status_written_us=1_000, last_written_us=3_000),
        ),
        Look((), None),
    ]
    assert counters.db_reads._value.get() == 4


def test_a_row_without_any_of_our_cells_is_a_row(store: EnrolmentStore, database: Any, key: EnrolmentKey) -> None:
    database.enrol(key, 1_000, active=True)

    assert store.read_completions([key]) == [EnrolmentRow(None, None, None, None, active_written_us=1_000)]


def test_a_completion_reads_back_to_the_millisecond(store: EnrolmentStore, key: EnrolmentKey) -> None:
    write = EnrolmentWrite(key, 1, {"a": 2}, 1_700_000_000_001, 77, StatusWrite(2, 77), 1_699_999_999_999)
    assert store.write_enrolments([write]) == [None]

    missing = EnrolmentKey("x", "y", "z")
    assert store.read_completions([key, missing]) == [
        EnrolmentRow(2, 1_699_999_999_999, 77, 77, completed_on_written_us=77),
        None,
    ]


@pytest.mark.parametrize("moment_ms", [253_402_300_800_000, -62_135_596_800_001, 2**62, 0, -1])
def test_dates_that_python_cannot_hold_are_read(
    store: EnrolmentStore, database: Any, key: EnrolmentKey, moment_ms: int
) -> None:
    database.enrol(key, 1_000, status=2, completedon=moment_ms)

    assert store.read_completions([key]) == [EnrolmentRow(2, moment_ms, 1_000, 1_000, completed_on_written_us=1_000)]


def test_times_of_completion_are_read_where_they_are_wanted(
    connect: Callable[..., EnrolmentStore], database: Any, key: EnrolmentKey
) -> None:
    database.consume(key, "neither", 2)
    database.consume(key, "timestamp", None, last_completed_time=1_700_000_000_123, lastcompletedtime="nonsense")
    database.consume(key, "text", 2, lastcompletedtime="2023-05-08 10:00:00:250+0530")
    times = {"neither": None, "timestamp": 1_700_000_000_123, "text": 1_683_520_200_250}

    (read,), (plain,) = connect(completion_times=True).look([key]), connect().look([key])

    assert isinstance(read, Look)
    assert isinstance(plain, Look)
    assert {row.content_id: row.completed_ms for row in read.consumption} == times
    assert {row.content_id: row.status for row in read.consumption} == {"neither": 2, "timestamp": 1, "text": 2}
    assert {row.content_id: row.completed_ms for row in plain.consumption} == dict.fromkeys(times)


def test_a_comparison_reads_times_of_completion_where_they_are_wanted(
    store_config: StoreConfig, database: Any, counters: Counters, key: EnrolmentKey
) -> None:
    database.consume(key, "do_1", 2, last_completed_time=1_700_000_000_123)
    for wanted, time_ms in ((True, 1_700_000_000_123), (False, None)):
        reader = LearnerReader.connect(replace(store_config, completion_times=wanted), counters)
        try:
            (rows,) = reader.look([key])
        finally:
            reader.close()
        assert isinstance(rows, LearnerRows)
        assert rows.look.consumption == (Consumption("do_1", 2, time_ms),)
        assert set(rows.consumption_written_us) == {"do_1"}


def test_2500_rows_are_read_whole(store: EnrolmentStore, database: Any, counters: Counters, key: EnrolmentKey) -> None:
    insert = database.session.prepare(
        "INSERT INTO {keyspace}.user_content_consumption (userid, courseid, batchid, contentid, status)"
        " VALUES (?, ?, ?, ?, 2)".replace("{keyspace}", database.keyspace)
    )
    contents = [f"do_{number:05}" for number in range(2_500)]
    execute_concurrent_with_args(
        database.session, insert, [(key.user_id, key.course_id, key.batch_id, content) for content in contents]
    )

    (look,) = store.look([key])

    assert isinstance(look, Look)
    assert look.consumption == tuple(Consumption(content, 2) for content in contents)
    assert counters.db_reads._value.get() == 4, "three pages and the enrolment"


def test_a_key_that_is_too_long_fails_alone(store: EnrolmentStore, database: Any, key: EnrolmentKey) -> None:
    database.consume(key, "do_1", 2)
    long = EnrolmentKey("u" * 70_000, "c", "b")
    unencodable = EnrolmentKey("\udc80", "c", "b")

    first, second, third = store.look([long, key, unencodable])

    assert isinstance(first, RequestFailed)
    assert second == Look((Consumption("do_1", 2),), None)
    assert isinstance(third, RequestFailed)
    assert isinstance(store.read_completions([long])[0], RequestFailed)


@pytest.mark.parametrize("key", [EnrolmentKey("u", "c" * 70_000, "b"), EnrolmentKey("u", "c", "b" * 70_000)])
def test_a_long_course_or_batch_is_read_as_nothing_and_never_written(store: EnrolmentStore, key: EnrolmentKey) -> None:
    assert store.look([key]) == [Look((), None)]
    assert isinstance(store.write_enrolments([EnrolmentWrite(key, 1, {}, 1, 1, None, None)])[0], RequestFailed)


def test_probe_and_clock_answer(store: EnrolmentStore) -> None:
    store.probe()

    before = time.time() * 1000
    told = store.server_clock_ms()
    assert before - 5_000 < told < time.time() * 1000 + 5_000


def test_the_driver_connects_without_warnings(
    connect: Callable[..., EnrolmentStore], caplog: pytest.LogCaptureFixture
) -> None:
    connect()

    assert [record.message for record in caplog.records if record.levelname != "INFO"] == []


def test_the_event_loop_is_libev(store: EnrolmentStore) -> None:
    assert store._cluster.connection_class is LibevConnection


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"keyspace": "nowhere"}, ("lms-cassandra.keyspace", "nowhere")),
        ({"user_enrolments_table": "no_table"}, ("lms-cassandra.user_enrolments.table", "no_table")),
        ({"content_consumption_table": "no_table"}, ("lms-cassandra.content_consumption.table", "no_table")),
        ({"user_activity_agg_table": "user_enrolments"}, ("lms-cassandra.user_activity_agg.table", "user_enrol")),
        ({"user_enrolments_table": "x; DROP"}, ("lms-cassandra.user_enrolments.table", "x; DROP")),
    ],
)
def test_what_is_not_there_is_named_with_its_setting(
    connect: Callable[..., EnrolmentStore], changes: dict[str, str], named: tuple[str, str]
) -> None:
    with pytest.raises(SettingsError) as raised:
        connect(**changes)

    assert all(text in str(raised.value) for text in named)


@pytest.mark.parametrize("hosts", [("127.0.0.1",), ("no-such-host.invalid",)])
def test_a_server_that_is_away_is_said_to_be_at_once(
    connect: Callable[..., EnrolmentStore], closed_port: int, hosts: tuple[str, ...]
) -> None:
    begun = time.monotonic()

    with pytest.raises(StoreUnavailable):
        connect(hosts=hosts, port=closed_port, timeout=2.0)

    assert time.monotonic() - begun < 30
