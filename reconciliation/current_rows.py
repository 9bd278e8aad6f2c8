"""Reads what a learner's rows say now, for people who ask; a reconciliation looks through `enrolment_store`."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from cassandra.cluster import Session

from reconciliation.binding import Statement
from reconciliation.model import EnrolmentKey
from reconciliation.statements import Tables, current_texts
from reconciliation.store_connection import StoreConfig, open_session, prepared
from reconciliation.store_errors import translated


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
        self._cluster, self._session, statements = open_session(config, _prepare)
        self._read_enrolment = statements["read_current_enrolment"]
        self._read_aggregate = statements["read_current_aggregate"]

    def close(self) -> None:
        """Close all connections."""
        self._cluster.shutdown()

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

    def _one(self, statement: Statement, values: tuple[object, ...]) -> tuple[Any, ...] | None:
        try:
            row: tuple[Any, ...] | None = self._session.execute(statement.bind(values)).one()
        except Exception as error:
            raise translated(error) from error
        return row


def _prepare(session: Session, tables: Tables) -> dict[str, Statement]:
    return prepared(session, asdict(current_texts(tables)), tables)


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.replace(tzinfo=UTC).timestamp() * 1000)
