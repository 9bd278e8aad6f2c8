"""Reads what a learner's rows say now, for people who ask; a reconciliation looks through `enrolment_store`."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cassandra.query import PreparedStatement

from reconciliation import store_connection
from reconciliation.model import EnrolmentKey
from reconciliation.statements import Tables, current_texts
from reconciliation.store_connection import StoreConfig, translated


@dataclass(frozen=True, slots=True)
class CurrentEnrolment:
    """An enrolment's row; `updated_ms` is its datetime, all times are ms since 1970, None where a cell is empty."""

    status: int | None
    progress: int | None
    completed_on_ms: int | None
    updated_ms: int | None
    active: bool | None


@dataclass(frozen=True, slots=True)
class CurrentAggregate:
    """A course's aggregate: completedCount and when it was written (ms since 1970), None where there is none."""

    completed_count: float | None
    updated_ms: int | None


class CurrentRows:
    """A connection to Cassandra that only reads.

    Making one raises StoreUnavailable when no host answers, SettingsError when keyspace, table or column isn't there;
    its methods raise StoreUnavailable or RequestFailed.
    """

    def __init__(self, config: StoreConfig) -> None:
        self._connection = store_connection.connect(config)
        tables = Tables(
            config.keyspace,
            config.content_consumption_table,
            config.user_enrolments_table,
            config.user_activity_agg_table,
        )
        texts = current_texts(tables)
        try:
            self._read_enrolment = self._connection.session.prepare(texts.read_current_enrolment)
            self._read_aggregate = self._connection.session.prepare(texts.read_current_aggregate)
        except Exception as error:
            self.close()
            raise translated(error) from error

    def close(self) -> None:
        """Close all connections."""
        self._connection.cluster.shutdown()

    def enrolment(self, key: EnrolmentKey) -> CurrentEnrolment | None:
        """Give an enrolment's row, None where there is none."""
        row = self._one(self._read_enrolment, (key.user_id, key.course_id, key.batch_id))
        return None if row is None else CurrentEnrolment(*row)

    def course_aggregate(self, key: EnrolmentKey) -> CurrentAggregate | None:
        """Give the aggregate of the enrolment's course, None where there is no row."""
        row = self._one(self._read_aggregate, ("Course", key.course_id, key.user_id, f"cb:{key.batch_id}"))
        if row is None:
            return None
        counts, updated = row[0] or {}, row[1] or {}
        return CurrentAggregate(counts.get("completedCount"), _ms(updated.get("completedCount")))

    def _one(self, statement: PreparedStatement, values: tuple[object, ...]) -> tuple[Any, ...] | None:
        try:
            row: tuple[Any, ...] | None = self._connection.session.execute(statement, values).one()
        except Exception as error:
            raise translated(error) from error
        return row


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.replace(tzinfo=UTC).timestamp() * 1000)
