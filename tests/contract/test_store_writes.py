"""Rows that the store writes, read back from Cassandra."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from reconciliation.counters import Counters
from reconciliation.enrolment_store import EnrolmentStore
from reconciliation.errors import RequestFailed
from reconciliation.model import AggregateWrite, EnrolmentKey, EnrolmentWrite, StatusWrite

NOW = datetime(2025, 10, 9, 8, 53, 20, 123_000)  # noqa: DTZ001 - as the driver reads timestamps
NOW_MS = 1_760_000_000_123
STAMP_US = 1_760_000_000_123_456


def aggregate(key: EnrolmentKey, activity_id: str, count: float, stamp_us: int = STAMP_US) -> AggregateWrite:
    return AggregateWrite(activity_id, key.user_id, key.batch_id, count, NOW_MS, stamp_us)


def enrolment(
    key: EnrolmentKey,
    status: StatusWrite | None,
    *,
    progress: int = 1,
    content_status: dict[str, int] | None = None,
    stamp_us: int = STAMP_US,
    completed_on_ms: int | None = None,
    percentage: int | None = None,
) -> EnrolmentWrite:
    statuses = content_status or {"do_1": 2}
    return EnrolmentWrite(key, progress, statuses, NOW_MS, stamp_us, status, completed_on_ms, percentage)


def aggregate_rows(database: Any, activity_id: str, user_id: str, batch_id: str) -> list[Any]:
    rows: list[Any] = database.execute(
        "SELECT aggregates, agg_last_updated FROM {keyspace}.user_activity_agg"
        " WHERE activity_type = 'Course' AND activity_id = %s AND user_id = %s AND context_id = %s",
        [activity_id, user_id, f"cb:{batch_id}"],
    )
    return rows


def aggregate_stamps(database: Any, key: EnrolmentKey) -> list[int] | None:
    """The write times of the course's aggregates, sorted; None before Cassandra 5, which tells none of maps."""
    (server,) = database.execute("SELECT release_version FROM system.local")
    if int(server.release_version.partition(".")[0]) < 5:
        return None
    (row,) = database.execute(
        "SELECT WRITETIME(aggregates) AS stamps FROM {keyspace}.user_activity_agg"
        " WHERE activity_type = 'Course' AND activity_id = %s AND user_id = %s AND context_id = %s",
        [key.course_id, key.user_id, f"cb:{key.batch_id}"],
    )
    return sorted(row.stamps)


@pytest.mark.parametrize("layout", ["keyspace", "keyspace_other_layout"])
def test_aggregates_are_added_to_what_another_job_keeps(
    layout: str,
    request: pytest.FixtureRequest,
    connect: Callable[..., EnrolmentStore],
    cassandra: Any,
    key: EnrolmentKey,
) -> None:
    keyspace = request.getfixturevalue(layout)
    database = request.getfixturevalue("database").__class__(cassandra, keyspace)
    database.execute(
        "UPDATE {keyspace}.user_activity_agg USING TIMESTAMP 1000 SET aggregates = %s, agg = %s"
        " WHERE activity_type = 'Course' AND activity_id = %s AND user_id = %s AND context_id = %s",
        [
            {"score:do_1": 7.0, "completedCount": 1.0},
            {"completedCount": 1},
            key.course_id,
            key.user_id,
            f"cb:{key.batch_id}",
        ],
    )
    store = connect(keyspace=keyspace)

    assert store.write_aggregates([[aggregate(key, key.course_id, 3.0)]]) == [None]

    (row,) = aggregate_rows(database, key.course_id, key.user_id, key.batch_id)
    assert dict(row.aggregates) == {"score:do_1": 7.0, "completedCount": 3.0}
    assert dict(row.agg_last_updated) == {"completedCount": NOW}
    assert aggregate_stamps(database, key) in (None, [1000, STAMP_US])


def test_a_group_larger_than_a_batch_is_split_and_written_whole(
    store: EnrolmentStore, database: Any, counters: Counters, key: EnrolmentKey
) -> None:
    units = [f"{key.course_id}-unit{number}" for number in range(25)]

    assert store.write_aggregates([[aggregate(key, unit, 1.0) for unit in units], []]) == [None, None]

    assert all(len(aggregate_rows(database, unit, key.user_id, key.batch_id)) == 1 for unit in units)
    assert counters.db_updates._value.get() == 3


def test_an_older_aggregate_does_not_overwrite_a_later_one(
    store: EnrolmentStore, database: Any, key: EnrolmentKey
) -> None:
    store.write_aggregates([[aggregate(key, key.course_id, 5.0, STAMP_US)]])
    store.write_aggregates([[aggregate(key, key.course_id, 2.0, STAMP_US - 1)]])

    (row,) = aggregate_rows(database, key.course_id, key.user_id, key.batch_id)
    assert row.aggregates["completedCount"] == 5.0


def test_a_key_that_is_too_long_fails_alone(store: EnrolmentStore, database: Any, key: EnrolmentKey) -> None:
    groups = [
        [aggregate(key, "x" * 70_000, 1.0)],
        [aggregate(key, key.course_id, 1.0)],
        [aggregate(key, "\udc80", 1.0)],
    ]

    long, fine, unencodable = store.write_aggregates(groups)

    assert isinstance(long, RequestFailed)
    assert fine is None
    assert isinstance(unencodable, RequestFailed)
    assert len(aggregate_rows(database, key.course_id, key.user_id, key.batch_id)) == 1


def test_a_completion_is_one_write_with_its_stamp(
    store: EnrolmentStore, database: Any, counters: Counters, key: EnrolmentKey
) -> None:
    database.enrol(
        key, 1000, status=1, active=True, addedby="admin", contentstatus={"gone": 1}, completionpercentage=41
    )

    written = store.write_enrolments(
        [
            enrolment(
                key,
                StatusWrite(2, STAMP_US),
                progress=3,
                content_status={"do_1": 2, "do_2": 2},
                completed_on_ms=NOW_MS,
            )
        ]
    )

    assert written == [None]
    row = database.enrolment(key)
    assert (row.status, row.progress, row.completedon, row.datetime) == (2, 3, NOW_MS, NOW_MS)
    assert dict(row.contentstatus) == {"do_1": 2, "do_2": 2}, "contentstatus is replaced as a whole"
    assert {row.status_us, row.progress_us, row.completedon_us, row.datetime_us} == {STAMP_US}
    assert (row.active, row.addedby, row.completionpercentage) == (True, "admin", 41), "everything else stays"
    assert counters.db_updates._value.get() == 1


def test_without_status_and_completedon_both_stay(store: EnrolmentStore, database: Any, key: EnrolmentKey) -> None:
    database.enrol(key, 1000, status=1, completedon=5_000)

    assert store.write_enrolments([enrolment(key, None, progress=9)]) == [None]

    row = database.enrolment(key)
    assert (row.status, row.completedon, row.progress) == (1, 5_000, 9)
    assert (row.status_us, row.completedon_us, row.progress_us) == (1000, 1000, STAMP_US)


@pytest.mark.parametrize("write_timestamps", [True, False])
def test_a_percentage_is_written_with_its_progress(
    connect: Callable[..., EnrolmentStore], database: Any, key: EnrolmentKey, *, write_timestamps: bool
) -> None:
    store = connect(completion_percentage=True, write_timestamps=write_timestamps)
    database.enrol(key, 1000, status=1, completionpercentage=3)

    assert store.write_enrolments([enrolment(key, None, progress=2, percentage=66)]) == [None]

    row = database.enrolment(key)
    assert (row.status, row.progress, row.completionpercentage, row.completedon) == (1, 2, 66, None)
    assert row.completionpercentage_us == row.progress_us

    status = StatusWrite(2, STAMP_US + 1)
    completion = enrolment(key, status, percentage=100, stamp_us=STAMP_US + 1, completed_on_ms=NOW_MS)
    assert store.write_enrolments([completion]) == [None]

    row = database.enrolment(key)
    assert (row.status, row.completionpercentage, row.completedon, row.datetime) == (2, 100, NOW_MS, NOW_MS)
    assert row.completionpercentage_us == row.completedon_us


def test_a_status_1_with_a_low_stamp_loses_to_any_completion(
    store: EnrolmentStore, database: Any, key: EnrolmentKey
) -> None:
    database.enrol(key, 1000, status=0)
    completion = enrolment(key, StatusWrite(2, 5_000), stamp_us=5_000, completed_on_ms=NOW_MS)
    in_progress = enrolment(key, StatusWrite(1, 1_001), stamp_us=STAMP_US, progress=7)

    assert store.write_enrolments([completion]) == [None]
    assert store.write_enrolments([in_progress]) == [None]

    row = database.enrolment(key)
    assert (row.status, row.status_us, row.completedon) == (2, 5_000, NOW_MS)
    assert (row.progress, row.progress_us) == (7, STAMP_US)


def test_a_status_1_replaces_the_cell_it_was_stamped_above(
    store: EnrolmentStore, database: Any, key: EnrolmentKey
) -> None:
    database.enrol(key, 1000, status=0)

    assert store.write_enrolments([enrolment(key, StatusWrite(1, 1_001))]) == [None]

    row = database.enrolment(key)
    assert (row.status, row.status_us) == (1, 1_001)


def test_an_older_enrolment_write_changes_nothing(store: EnrolmentStore, database: Any, key: EnrolmentKey) -> None:
    later = enrolment(key, StatusWrite(1, STAMP_US), progress=8, content_status={"later": 1})
    older = enrolment(key, StatusWrite(1, STAMP_US - 5), progress=2, content_status={"older": 1}, stamp_us=STAMP_US - 5)

    assert store.write_enrolments([later]) == [None]
    assert store.write_enrolments([older]) == [None]

    row = database.enrolment(key)
    assert row.progress == 8
    assert dict(row.contentstatus) == {"later": 1}


def test_a_missing_row_is_made(store: EnrolmentStore, database: Any, key: EnrolmentKey) -> None:
    assert store.write_enrolments([enrolment(key, StatusWrite(1, STAMP_US))]) == [None]

    assert database.enrolment(key).status == 1


def test_ids_with_quotes_other_scripts_and_emoji_are_values(store: EnrolmentStore, database: Any) -> None:
    key = EnrolmentKey("o'brien\"; DROP TABLE x; --", "पाठ्यक्रम:{}%s?", "🎓 batch\n\t$$")
    content_status = {"कक्षा'\"{}": 2, "🧪": 1}

    assert store.write_enrolments([enrolment(key, StatusWrite(1, STAMP_US), content_status=content_status)]) == [None]
    assert store.write_aggregates([[aggregate(key, key.course_id, 1.0)]]) == [None]

    assert dict(database.enrolment(key).contentstatus) == content_status
    assert len(aggregate_rows(database, key.course_id, key.user_id, key.batch_id)) == 1


def test_a_map_of_2500_contents_is_written_with_its_status(
    store: EnrolmentStore, database: Any, key: EnrolmentKey
) -> None:
    content_status = {f"do_11260735471149056012{number:05}": 2 for number in range(2_500)}

    written = store.write_enrolments(
        [enrolment(key, StatusWrite(1, STAMP_US), progress=2_500, content_status=content_status)]
    )

    assert written == [None], "Cassandra's limit for batches does not count within one partition"
    assert dict(database.enrolment(key).contentstatus) == content_status


def test_a_write_that_cannot_be_bound_fails_alone(store: EnrolmentStore, database: Any, key: EnrolmentKey) -> None:
    beyond_int = enrolment(EnrolmentKey("a", "b", "c"), None, progress=2**40)

    failed, fine = store.write_enrolments([beyond_int, enrolment(key, StatusWrite(1, STAMP_US))])

    assert isinstance(failed, RequestFailed)
    assert fine is None
    assert database.enrolment(key).status == 1


def test_without_write_timestamps_the_server_stamps(
    connect: Callable[..., EnrolmentStore], database: Any, key: EnrolmentKey
) -> None:
    store = connect(write_timestamps=False)
    database.enrol(key, 1000, status=0)

    assert store.write_enrolments([enrolment(key, StatusWrite(2, 1), stamp_us=1, completed_on_ms=NOW_MS)]) == [None]
    assert store.write_aggregates([[aggregate(key, key.course_id, 1.0, 1)]]) == [None]

    row = database.enrolment(key)
    assert (row.status, row.completedon) == (2, NOW_MS)
    assert row.status_us > STAMP_US
    stamps = aggregate_stamps(database, key)
    assert stamps is None or stamps[0] > STAMP_US
