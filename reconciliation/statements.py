"""All CQL text of the product (docs/reconciliation.md, tables).

Table names come from settings and are checked before they stand in a text; every value is bound.
"""

# ruff: noqa: S608 - the names in the texts are checked by Tables, every value is bound

import re
from dataclasses import dataclass

from reconciliation.errors import SettingsError

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,47}")

# toTimestamp and toUnixTimestamp give milliseconds as a number. The driver would make a datetime of a timestamp
# (cassandra/cqltypes.py, DateType.deserialize): through a float, and with an error for years beyond 9999.
SERVER_CLOCK = "SELECT toUnixTimestamp(now()) FROM system.local"


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
        for setting, name in (
            ("lms-cassandra.keyspace", self.keyspace),
            ("lms-cassandra.content_consumption.table", self.consumption),
            ("lms-cassandra.user_enrolments.table", self.enrolments),
            ("lms-cassandra.user_activity_agg.table", self.aggregates),
        ):
            if not _IDENTIFIER.fullmatch(name):
                raise SettingsError(
                    f"{setting} is {name!r}: allowed are a letter, then letters, digits and underscores, at most 48"
                )


@dataclass(frozen=True, slots=True)
class StatementTexts:
    """One text a statement; the comment beside each names what is bound, in order.

    `[stamp]` is bound only where writes carry timestamps (`lms-cassandra.write.timestamps`).
    """

    read_consumption: str  # user, course, batch
    read_enrolment: str  # user, course, batch
    probe: str  # user
    probe_write: str  # user, course, batch
    add_aggregate: str  # [stamp], aggregates, agg_last_updated, activity_type, activity_id, user, context_id
    write_enrolment: str  # [stamp], progress, contentstatus, datetime, user, course, batch
    write_completed_enrolment: str  # [stamp], progress, contentstatus, datetime, completedon, status, and the key
    write_status: str  # [stamp], status, user, course, batch


def statement_texts(tables: Tables, *, write_timestamps: bool) -> StatementTexts:
    """Return every statement for these tables, with USING TIMESTAMP in all writes or in none."""
    consumption = f"{tables.keyspace}.{tables.consumption}"
    enrolments = f"{tables.keyspace}.{tables.enrolments}"
    aggregates = f"{tables.keyspace}.{tables.aggregates}"
    stamp = " USING TIMESTAMP ?" if write_timestamps else ""
    update_enrolment = f"UPDATE {enrolments}{stamp} SET"
    one_enrolment = "WHERE userid = ? AND courseid = ? AND batchid = ?"
    return StatementTexts(
        read_consumption=f"SELECT contentid, status FROM {consumption} {one_enrolment}",
        read_enrolment=(
            "SELECT status, toUnixTimestamp(completedon), WRITETIME(status), WRITETIME(completedon), "
            f"WRITETIME(progress), WRITETIME(datetime), WRITETIME(active) FROM {enrolments} {one_enrolment}"
        ),
        probe=f"SELECT userid FROM {enrolments} WHERE userid = ? LIMIT 1",
        # Of a row that is not there, stamped older than anything: it changes nothing for any reader.
        probe_write=f"DELETE FROM {enrolments}{' USING TIMESTAMP 1' if write_timestamps else ''} {one_enrolment}",
        # Adding to the maps keeps the entries of another job. The WHERE names the whole key, so that the text
        # fits both key layouts of this table.
        add_aggregate=(
            f"UPDATE {aggregates}{stamp} SET aggregates = aggregates + ?, agg_last_updated = agg_last_updated + ? "
            "WHERE activity_type = ? AND activity_id = ? AND user_id = ? AND context_id = ?"
        ),
        write_enrolment=f"{update_enrolment} progress = ?, contentstatus = ?, datetime = ? {one_enrolment}",
        write_completed_enrolment=(
            f"{update_enrolment} progress = ?, contentstatus = ?, datetime = ?, completedon = ?, status = ? "
            f"{one_enrolment}"
        ),
        write_status=f"{update_enrolment} status = ? {one_enrolment}",
    )


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
