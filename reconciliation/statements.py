"""All CQL text of the product (docs/reconciliation.md, tables).

Table names come from settings and are checked before they stand in a text; every value is bound.
"""

# ruff: noqa: S608 - the names in the texts are checked by Tables, every value is bound

import re
from collections.abc import Sequence
from dataclasses import dataclass

from reconciliation.errors import SettingsError

#: The course service's table of batches, which an installation may keep elsewhere.
BATCH_TABLE = "course_batch"

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,47}")

# toTimestamp and toUnixTimestamp give milliseconds as a number. The driver would make a datetime of a timestamp
# (cassandra/cqltypes.py, DateType.deserialize): through a float, and with an error for years beyond 9999.
SERVER_CLOCK = "SELECT toUnixTimestamp(now()) FROM system.local"

#: What an enrolment's row says beside what a reconciliation looks at, for people. An installation may lack some of
#: these columns: only those that its schema has are asked for. Times come as milliseconds.
DETAIL_COLUMNS = (
    "active",
    "certificates",
    "issued_certificates",
    "certstatus",
    "enrolleddate",
    "enrolled_date",
    "lastreadcontentid",
    "datetime",
)
_ONE_ENROLMENT = "WHERE userid = ? AND courseid = ? AND batchid = ?"
_ENROLMENT_CELLS = (
    "status, toUnixTimestamp(completedon), WRITETIME(status), WRITETIME(completedon), WRITETIME(progress), "
    "WRITETIME(datetime), WRITETIME(active)"
)
_COMPLETION_TIMES = ", toUnixTimestamp(last_completed_time), lastcompletedtime"
_TIME_COLUMNS = frozenset({"enrolled_date", "datetime"})


@dataclass(frozen=True, slots=True)
class Tables:
    """The names of the keyspace and its three tables, as the settings give them.

    Raises SettingsError where a name is no plain CQL identifier (a letter, then letters, digits, underscores; at
    most 48), since names are the one thing that is written into CQL text.
    """

    keyspace: str
    consumption: str
    enrolments: str
    aggregates: str

    def __post_init__(self) -> None:
        _check_identifiers(
            ("lms-cassandra.keyspace", self.keyspace),
            ("lms-cassandra.content_consumption.table", self.consumption),
            ("lms-cassandra.user_enrolments.table", self.enrolments),
            ("lms-cassandra.user_activity_agg.table", self.aggregates),
        )


@dataclass(frozen=True, slots=True)
class OtherTable:
    """A table in a keyspace of its own, and the settings that name the two.

    Raises SettingsError where a name is no plain CQL identifier, as `Tables` does.
    """

    keyspace: str
    table: str
    keyspace_setting: str
    table_setting: str

    def __post_init__(self) -> None:
        _check_identifiers((self.keyspace_setting, self.keyspace), (self.table_setting, self.table))

    def __str__(self) -> str:
        return f"{self.keyspace}.{self.table}"


def _check_identifiers(*named: tuple[str, str]) -> None:
    """Raise SettingsError unless each of these names, given with its setting, may stand in a CQL text."""
    for setting, name in named:
        if not _IDENTIFIER.fullmatch(name):
            raise SettingsError(
                f"{setting} is {name!r}: allowed are a letter, then letters, digits and underscores, at most 48"
            )


def relation_set_text(table: OtherTable) -> str:
    """Read one relation set; its key is bound."""
    return f"SELECT node_ids FROM {table} WHERE relationship_key = ?"


def course_hierarchy_text(table: OtherTable) -> str:
    """Read a course's hierarchy, a JSON text; the course is bound."""
    return f"SELECT hierarchy FROM {table} WHERE identifier = ?"


@dataclass(frozen=True, slots=True)
class StatementTexts:
    """One text a statement; the comment beside each names what is bound, in order.

    `[stamp]` is bound only where writes carry timestamps (`lms-cassandra.write.timestamps`), `[percentage]` only where
    that is written (`enrolment.completionpercentage.write`).
    """

    read_consumption: str  # user, course, batch
    read_enrolment: str  # user, course, batch
    probe: str  # user
    probe_write: str  # user, course, batch
    add_aggregate: str  # [stamp], aggregates, agg_last_updated, activity_type, activity_id, user, context_id
    write_enrolment: str  # [stamp], progress, contentstatus, datetime, [percentage], user, course, batch
    write_completed_enrolment: str  # [stamp], progress, contentstatus, datetime, [percentage], completedon, status, key
    write_status: str  # [stamp], status, user, course, batch


def statement_texts(
    tables: Tables, *, write_timestamps: bool, completion_times: bool = False, completion_percentage: bool = False
) -> StatementTexts:
    """Return every statement for these tables, with USING TIMESTAMP in all writes or in none.

    With `completion_times` the consumption is read with when each content was completed, twice as it is kept: in
    milliseconds, and as text. With `completion_percentage` that is written with progress.
    """
    consumption = f"{tables.keyspace}.{tables.consumption}"
    enrolments = f"{tables.keyspace}.{tables.enrolments}"
    aggregates = f"{tables.keyspace}.{tables.aggregates}"
    stamp = " USING TIMESTAMP ?" if write_timestamps else ""
    update_enrolment = f"UPDATE {enrolments}{stamp} SET"
    times = _COMPLETION_TIMES if completion_times else ""
    progress = f"progress = ?, contentstatus = ?, datetime = ?{', completionpercentage = ?' * completion_percentage}"
    return StatementTexts(
        read_consumption=f"SELECT contentid, status{times} FROM {consumption} {_ONE_ENROLMENT}",
        read_enrolment=f"SELECT {_ENROLMENT_CELLS} FROM {enrolments} {_ONE_ENROLMENT}",
        probe=f"SELECT userid FROM {enrolments} WHERE userid = ? LIMIT 1",
        # Of a row that is not there, stamped older than anything: it changes nothing for any reader.
        probe_write=f"DELETE FROM {enrolments}{' USING TIMESTAMP 1' if write_timestamps else ''} {_ONE_ENROLMENT}",
        # Adding to the maps keeps the entries of another job. The WHERE names the whole key, so that the text
        # fits both key layouts of this table.
        add_aggregate=(
            f"UPDATE {aggregates}{stamp} SET aggregates = aggregates + ?, agg_last_updated = agg_last_updated + ? "
            "WHERE activity_type = ? AND activity_id = ? AND user_id = ? AND context_id = ?"
        ),
        write_enrolment=f"{update_enrolment} {progress} {_ONE_ENROLMENT}",
        write_completed_enrolment=f"{update_enrolment} {progress}, completedon = ?, status = ? {_ONE_ENROLMENT}",
        write_status=f"{update_enrolment} status = ? {_ONE_ENROLMENT}",
    )


@dataclass(frozen=True, slots=True)
class ReadTexts:
    """What a comparison reads; the comment beside each names what is bound, in order. None of them writes."""

    compare_consumption: str  # user, course, batch, most rows
    compare_enrolment: str  # user, course, batch
    compare_aggregate: str  # activity_type, activity_id, user, context_id
    probe: str  # user


def read_texts(tables: Tables, *, completion_times: bool = False) -> ReadTexts:
    """Return the statements that a comparison reads with; `completion_times` as for `statement_texts`."""
    enrolments = f"{tables.keyspace}.{tables.enrolments}"
    return ReadTexts(
        compare_consumption=(
            f"SELECT contentid, status, WRITETIME(status){_COMPLETION_TIMES if completion_times else ''} "
            f"FROM {tables.keyspace}.{tables.consumption} {_ONE_ENROLMENT} LIMIT ?"
        ),
        compare_enrolment=f"SELECT {_ENROLMENT_CELLS}, progress, contentstatus FROM {enrolments} {_ONE_ENROLMENT}",
        compare_aggregate=(
            f"SELECT aggregates, agg_last_updated FROM {tables.keyspace}.{tables.aggregates} "
            "WHERE activity_type = ? AND activity_id = ? AND user_id = ? AND context_id = ?"
        ),
        probe=f"SELECT userid FROM {enrolments} WHERE userid = ? LIMIT 1",
    )


def detail_enrolment_text(tables: Tables, columns: Sequence[str]) -> str:
    """Read these of `DETAIL_COLUMNS` of one enrolment; user, course and batch are bound."""
    selected = ", ".join(f"toUnixTimestamp({name})" if name in _TIME_COLUMNS else name for name in columns)
    return f"SELECT {selected} FROM {tables.keyspace}.{tables.enrolments} {_ONE_ENROLMENT}"


def users_enrolments_text(tables: Tables) -> str:
    """Read which enrolments a learner has, in any course; user and most rows are bound."""
    return f"SELECT courseid, batchid, status FROM {tables.keyspace}.{tables.enrolments} WHERE userid = ? LIMIT ?"


def users_consumption_text(tables: Tables) -> str:
    """Read in which courses and batches a learner consumed, a row a content; user and most rows are bound."""
    return f"SELECT courseid, batchid FROM {tables.keyspace}.{tables.consumption} WHERE userid = ? LIMIT ?"


def certificate_templates_text(tables: Tables) -> str:
    """Read a batch's certificate templates from the course service's own table; course and batch are bound."""
    return f"SELECT cert_templates FROM {tables.keyspace}.{BATCH_TABLE} WHERE courseid = ? AND batchid = ?"


@dataclass(frozen=True, slots=True)
class CurrentTexts:
    """What people are shown of a learner's rows; workers read none of it. The comment names what is bound."""

    read_current_enrolment: str  # user, course, batch
    read_current_aggregate: str  # activity_type, activity_id, user, context_id


def current_texts(tables: Tables) -> CurrentTexts:
    """Return the reads of a learner's rows as they are now."""
    return CurrentTexts(
        read_current_enrolment=(
            "SELECT status, progress, toUnixTimestamp(completedon), toUnixTimestamp(datetime), active "
            f"FROM {tables.keyspace}.{tables.enrolments} WHERE userid = ? AND courseid = ? AND batchid = ?"
        ),
        read_current_aggregate=(
            f"SELECT aggregates, agg_last_updated FROM {tables.keyspace}.{tables.aggregates} "
            "WHERE activity_type = ? AND activity_id = ? AND user_id = ? AND context_id = ?"
        ),
    )


@dataclass(frozen=True, slots=True)
class ScanTexts:
    """What a look through whole tables reads, in token order; in each two tokens are bound: above, and up to."""

    scan_enrolments: str
    scan_consumption: str
    scan_aggregate: str


def scan_texts(
    tables: Tables, aggregate_partition_key: Sequence[str], enrolment_columns: Sequence[str] = ()
) -> ScanTexts:
    """Return the statements of a look through whole tables.

    `aggregate_partition_key` names the columns of that table's partition key, which installations have in two forms;
    `enrolment_columns` what is read of an enrolment beside its key, status, completedon and active.
    """
    by_user = "WHERE token(userid) > ? AND token(userid) <= ?"
    by_activity = f"token({', '.join(aggregate_partition_key)})"
    columns = ", ".join(["userid, courseid, batchid, status, toUnixTimestamp(completedon), active", *enrolment_columns])
    return ScanTexts(
        scan_enrolments=f"SELECT {columns} FROM {tables.keyspace}.{tables.enrolments} {by_user}",
        scan_consumption=(
            f"SELECT userid, courseid, batchid, contentid, status FROM {tables.keyspace}.{tables.consumption} {by_user}"
        ),
        scan_aggregate=(
            f"SELECT activity_type, activity_id, user_id, context_id, aggregates FROM {tables.keyspace}."
            f"{tables.aggregates} WHERE {by_activity} > ? AND {by_activity} <= ?"
        ),
    )


#: How many partitions a table has in the ranges that the asked node is the first to hold; keyspace and table are bound.
SIZE_ESTIMATES = (
    "SELECT range_start, range_end, partitions_count FROM system.size_estimates "
    "WHERE keyspace_name = %s AND table_name = %s"
)


def enrolment_state_text(tables: Tables, *, certificates: bool) -> str:
    """Read status, completedon and active of one enrolment, and what was issued; user, course and batch are bound."""
    issued = ", issued_certificates" if certificates else ""
    return (
        f"SELECT status, toUnixTimestamp(completedon), active{issued} "
        f"FROM {tables.keyspace}.{tables.enrolments} {_ONE_ENROLMENT}"
    )
