"""The three tables, written as the course service writes them and read whole."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cassandra import OperationTimedOut
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
from cassandra.concurrent import execute_concurrent_with_args
from cassandra.policies import ConstantReconnectionPolicy, WhiteListRoundRobinPolicy
from cassandra.query import ValueSequence, dict_factory

from devstack.security import Security
from tests.support.waiting import wait_until

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LIMIT_SECONDS = 30.0
#: Of how many users enrolments are asked for at once.
_AT_ONCE = 100

Row = dict[str, Any]

#: Cells of an enrolment that belong to others; every row that a test makes has them.
OTHERS_CELLS: Mapping[str, object] = {
    "active": True,
    "addedby": "admin",
    "certificates": [{"name": "old", "token": "T1"}],
    "issued_certificates": [{"name": "older", "token": "T0"}],
    "certstatus": 3,
    "completionpercentage": 41,
    "enrolleddate": "2023-05-08 10:00:00:000+0000",
    "enrolled_date": datetime(2023, 5, 8, 10, 0, tzinfo=UTC),
    "lastreadcontentid": "do_last",
    "lastreadcontentstatus": 1,
    "lastcontentaccesstime": datetime(2023, 5, 9, 10, 0, tzinfo=UTC),
}


@dataclass(frozen=True, slots=True, order=True)
class Learner:
    """One learner in one batch of one course."""

    user: str
    course: str
    batch: str

    @property
    def ids(self) -> tuple[str, str, str]:
        """The three ids in the order of the tables' keys."""
        return self.user, self.course, self.batch


class Tables:
    """One keyspace. Times come out as milliseconds since 1970."""

    def __init__(self, host: str, port: int, keyspace: str, security: Security | None = None) -> None:
        secured: dict[str, Any] = {}
        if security is not None:
            secured["auth_provider"] = PlainTextAuthProvider(security.username, security.password)
            secured["ssl_context"] = security.tls()
        profile = ExecutionProfile(
            load_balancing_policy=WhiteListRoundRobinPolicy([host]),
            request_timeout=_LIMIT_SECONDS,
            row_factory=dict_factory,
        )
        self._cluster = Cluster(
            [host],
            port=port,
            protocol_version=5,
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            reconnection_policy=ConstantReconnectionPolicy(0.5, max_attempts=None),
            # the other tests' keyspaces are many, and of no use here
            schema_metadata_enabled=False,
            token_metadata_enabled=False,
            **secured,
        )
        self._session = self._cluster.connect(keyspace)

    def close(self) -> None:
        """Close the connection."""
        self._cluster.shutdown()

    def wait_ready(self) -> None:
        """Wait until this connection is well again after Cassandra was away."""
        wait_until("Cassandra answers again", self._answers)

    def add_consumption(self, contents: Mapping[Learner, Mapping[str, int | None]]) -> None:
        """Write each learner's contents with their status; None leaves the status out."""
        self._write(
            "INSERT INTO user_content_consumption (userid, courseid, batchid, contentid, status, progress, viewcount)"
            " VALUES (?, ?, ?, ?, ?, 100, 7)",
            [(*learner.ids, content, status) for learner, rows in contents.items() for content, status in rows.items()],
        )

    def add_completed(self, learner: Learner, times: Mapping[str, tuple[object, str | None]]) -> None:
        """Write contents that the learner completed, each with both times of its completion: timestamp and text."""
        self._write(
            "INSERT INTO user_content_consumption"
            " (userid, courseid, batchid, contentid, status, last_completed_time, lastcompletedtime)"
            " VALUES (?, ?, ?, ?, 2, ?, ?)",
            [(*learner.ids, content, *both) for content, both in times.items()],
        )

    def add_enrolments(self, learners: Iterable[Learner], *, stamp_us: int | None = None, **cells: object) -> None:
        """Write an enrolment for each learner: status 1, everything that belongs to others, and `cells`.

        `stamp_us` is their write time in microseconds; None means now.
        """
        values = {"status": 1, **OTHERS_CELLS, **cells}
        names = ", ".join(["userid", "courseid", "batchid", *values])
        marks = ", ".join("?" for _ in range(3 + len(values)))
        stamp = "" if stamp_us is None else f" USING TIMESTAMP {stamp_us}"
        self._write(
            f"INSERT INTO user_enrolments ({names}) VALUES ({marks}){stamp}",  # noqa: S608 - names of columns
            [(*learner.ids, *values.values()) for learner in learners],
        )

    def set_cells(self, learner: Learner, stamp_us: int, **cells: object) -> None:
        """Write these cells of an enrolment with this write time, in microseconds, as another job does."""
        names = ", ".join(f"{name} = ?" for name in cells)
        self._write(
            f"UPDATE user_enrolments USING TIMESTAMP ? SET {names}"  # noqa: S608 - names of columns
            " WHERE userid = ? AND courseid = ? AND batchid = ?",
            [(stamp_us, *cells.values(), *learner.ids)],
        )

    def add_aggregates(self, learner: Learner, activity_id: str, values: Mapping[str, float]) -> None:
        """Write entries of an aggregates map, as the job that keeps scores does."""
        now = datetime.now(UTC)
        self._write(
            "UPDATE user_activity_agg SET aggregates = aggregates + ?, agg_last_updated = agg_last_updated + ?,"
            " agg_details = ?, agg = ?"
            " WHERE activity_type = 'Course' AND activity_id = ? AND user_id = ? AND context_id = ?",
            [
                (
                    dict(values),
                    dict.fromkeys(values, now),
                    ["attempt 1"],
                    {"old": 1},
                    activity_id,
                    learner.user,
                    f"cb:{learner.batch}",
                )
            ],
        )

    def enrolment(self, learner: Learner) -> Row | None:
        """Return all cells of an enrolment, None where there is no row."""
        rows = self._read(
            "SELECT * FROM user_enrolments WHERE userid = %s AND courseid = %s AND batchid = %s", learner.ids
        )
        return rows[0] if rows else None

    def write_times(self, learner: Learner) -> Row:
        """Return when each cell that we may write, and one that we may not, was written, in microseconds.

        Before Cassandra 5 without that of the map, which is not told there.
        """
        (row,) = self._read(
            f"SELECT {self._write_times()} FROM user_enrolments WHERE userid = %s AND courseid = %s AND batchid = %s",  # noqa: S608 - names of columns
            learner.ids,
        )
        return row

    def consumption(self, learner: Learner) -> dict[str, Row]:
        """Return all consumption rows of a learner by content, each with the time of its last write."""
        rows = self._read(
            "SELECT contentid, status, progress, viewcount, completedcount, completionpercentage, progressdetails,"
            " datetime, lastupdatedtime, last_updated_time, WRITETIME(progress) AS written"
            " FROM user_content_consumption WHERE userid = %s AND courseid = %s AND batchid = %s",
            learner.ids,
        )
        return {row["contentid"]: row for row in rows}

    def aggregates(self, learner: Learner) -> dict[str, Row]:
        """Return all aggregate rows of a learner's batch by activity id, whatever activity that is."""
        rows = self._read(
            "SELECT * FROM user_activity_agg WHERE user_id = %s AND context_id = %s ALLOW FILTERING",
            (learner.user, f"cb:{learner.batch}"),
        )
        return {row["activity_id"]: row for row in rows}

    def completed_counts(self, learner: Learner) -> dict[str, float]:
        """Return completedCount of every aggregate row of a learner's batch, by activity id."""
        return {activity: row["aggregates"]["completedCount"] for activity, row in self.aggregates(learner).items()}

    def enrolments(self, learners: Iterable[Learner]) -> dict[Learner, Row]:
        """Return these learners' enrolments, where there are rows."""
        wanted = set(learners)
        users = sorted({learner.user for learner in wanted})
        found = {}
        for at in range(0, len(users), _AT_ONCE):
            some = ValueSequence(users[at : at + _AT_ONCE])
            for row in self._read("SELECT * FROM user_enrolments WHERE userid IN %s", (some,)):
                learner = Learner(row["userid"], row["courseid"], row["batchid"])
                if learner in wanted:
                    found[learner] = row
        return found

    def counts_of(self, activities: Mapping[Learner, Iterable[str]]) -> dict[tuple[str, str, str], float]:
        """Return completedCount of each learner's aggregate rows of these activities, where there are rows.

        By (activity id, user, batch).
        """
        prepared = self._session.prepare(
            "SELECT activity_id, user_id, context_id, aggregates FROM user_activity_agg WHERE activity_type = 'Course'"
            " AND activity_id IN ? AND user_id = ? AND context_id = ?"
        )
        values = [(list(ids), learner.user, f"cb:{learner.batch}") for learner, ids in activities.items() if ids]
        answers = execute_concurrent_with_args(self._session, prepared, values, concurrency=50)
        return {
            _aggregate_key(row): row["aggregates"]["completedCount"]
            for answer in answers
            for row in answer.result_or_exc
        }

    def all_enrolments(self) -> dict[Learner, Row]:
        """Return every enrolment of the keyspace."""
        return {
            Learner(row["userid"], row["courseid"], row["batchid"]): row
            for row in self._read("SELECT * FROM user_enrolments", ())
        }

    def all_write_times(self) -> dict[Learner, Row]:
        """Return of every enrolment of the keyspace what `write_times` tells."""
        rows = self._read(f"SELECT userid, courseid, batchid, {self._write_times()} FROM user_enrolments", ())  # noqa: S608 - names of columns
        return {Learner(row.pop("userid"), row.pop("courseid"), row.pop("batchid")): row for row in rows}

    def all_aggregates(self) -> dict[tuple[str, str, str], Row]:
        """Return every aggregate row of the keyspace with its maps' write times, by (activity id, user, batch).

        From Cassandra 5 on: before it, those of maps are not told.
        """
        rows = self._read(
            "SELECT activity_id, user_id, context_id, agg, agg_details, aggregates, agg_last_updated,"
            " WRITETIME(aggregates) AS written FROM user_activity_agg",
            (),
        )
        return {_aggregate_key(row): row for row in rows}

    def all_completed_counts(self) -> dict[tuple[str, str, str], float]:
        """Return completedCount of every aggregate row of the keyspace, by (activity id, user, batch)."""
        return {
            _aggregate_key(row): row["aggregates"]["completedCount"]
            for row in self._read("SELECT * FROM user_activity_agg", ())
        }

    def empty(self) -> None:
        """Remove all rows."""
        for table in ("user_content_consumption", "user_enrolments", "user_activity_agg"):
            self._session.execute(f"TRUNCATE {table}")

    def _write_times(self) -> str:
        """Give what selects the write times of an enrolment's cells."""
        (server,) = self._read("SELECT release_version FROM system.local", ())
        tells_of_maps = int(server["release_version"].partition(".")[0]) >= 5
        maps = ("contentstatus",) if tells_of_maps else ()
        names = ("status", "progress", *maps, "completedon", "datetime", "active")
        return ", ".join(f"WRITETIME({name}) AS {name}" for name in names)

    def _answers(self) -> bool:
        try:
            self._session.execute("SELECT release_version FROM system.local")
        except (NoHostAvailable, OperationTimedOut):
            return False
        return True

    def _write(self, statement: str, values: Sequence[tuple[object, ...]]) -> None:
        prepared = self._session.prepare(statement)
        execute_concurrent_with_args(self._session, prepared, values, concurrency=50)

    def _read(self, statement: str, values: Sequence[object]) -> list[Row]:
        return [
            {name: _plain(value) for name, value in row.items()} for row in self._session.execute(statement, values)
        ]


def _aggregate_key(row: Row) -> tuple[str, str, str]:
    return row["activity_id"], row["user_id"], row["context_id"].removeprefix("cb:")


def _plain(value: object) -> object:
    """Turn the driver's containers and times into Python's own."""
    if isinstance(value, datetime):
        return round((value.replace(tzinfo=UTC) - _EPOCH) / timedelta(milliseconds=1))
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
