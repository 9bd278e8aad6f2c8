"""All reads and writes of Cassandra (docs/reconciliation.md, tables and steps; docs/reliability.md, outages)."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

from cassandra.query import BatchStatement, BatchType
from cassandra.query import Statement as Bound

from reconciliation import store_connection
from reconciliation.binding import Statement
from reconciliation.counters import Counters
from reconciliation.errors import ReconciliationError, StoreUnavailable
from reconciliation.model import (
    IN_PROGRESS,
    AggregateWrite,
    Consumption,
    EnrolmentKey,
    EnrolmentRow,
    EnrolmentWrite,
    Look,
)
from reconciliation.store_answers import Pending, Sender, wait_for_all
from reconciliation.store_connection import StoreConfig
from reconciliation.store_errors import translated
from reconciliation.store_reads import Reads, consumption_row, enrolment_row, first_error

__all__ = ["EnrolmentStore", "StoreConfig"]

#: A probe asks for keys that lie at several places of the ring, so that it fails too where one range has lost its
#: quorum. No learner has these ids.
PROBE_USERS = tuple(f"enrolment-reconciliation-probe-{number}" for number in range(8))


class EnrolmentStore:
    """The three tables of a learner's progress. One a process, used by all its threads; made after any fork.

    Every method sends all requests of its group before it waits for the first answer. A result list is aligned with
    the input and holds the value, or the error of that item alone: StoreUnavailable or RequestFailed.
    """

    def __init__(self, connection: store_connection.Connection, config: StoreConfig, counters: Counters) -> None:
        self._cluster = connection.cluster
        self._sender = Sender(connection.session)
        self._statements = connection.statements
        self._config = config
        self._counters = counters
        self._reads = Reads(connection.session, counters)

    @classmethod
    def connect(cls, config: StoreConfig, counters: Counters) -> "EnrolmentStore":
        """Return a store that is ready for use.

        Raises StoreUnavailable when no host answers, SettingsError when keyspace, table or column isn't there.
        """
        return cls(store_connection.connect(config), config, counters)

    def close(self) -> None:
        """Close all connections; the store can't be used afterwards."""
        self._cluster.shutdown()

    def look(self, keys: Sequence[EnrolmentKey]) -> list[Look | ReconciliationError]:
        """Return all consumption rows and the enrolment of each key, as they are now."""
        pending = [
            (
                self._reads.send(self._statements.read_consumption, _key_values(key)),
                self._reads.send(self._statements.read_enrolment, _key_values(key)),
            )
            for key in keys
        ]
        wait_for_all(chain.from_iterable(pending))
        looks: list[Look | ReconciliationError] = []
        for consumption, enrolment in pending:
            # Both are collected even where the first has failed: no answer is left behind in flight.
            consumption_rows, enrolment_rows = self._reads.rows(consumption), self._reads.rows(enrolment)
            if isinstance(consumption_rows, ReconciliationError):
                looks.append(consumption_rows)
            elif isinstance(enrolment_rows, ReconciliationError):
                looks.append(enrolment_rows)
            else:
                looks.append(Look(self._consumption(consumption_rows), _enrolment(enrolment_rows)))
        return looks

    def read_completions(self, keys: Sequence[EnrolmentKey]) -> list[EnrolmentRow | ReconciliationError | None]:
        """Return each enrolment's row as it is now, None where there is none."""
        pending = [self._reads.send(self._statements.read_enrolment, _key_values(key)) for key in keys]
        wait_for_all(pending)
        results = [self._reads.rows(future) for future in pending]
        return [rows if isinstance(rows, ReconciliationError) else _enrolment(rows) for rows in results]

    def write_aggregates(self, groups: Sequence[Sequence[AggregateWrite]]) -> list[ReconciliationError | None]:
        """Add `completedCount` to the rows of each group (a group is one request's course and unit rows).

        None means that all rows of the group are written; with an error some of them may be.
        """
        size = self._config.batch_write_size
        pending = [
            [
                self._write([self._aggregate(write) for write in group[start : start + size]])
                for start in range(0, len(group), size)
            ]
            for group in groups
        ]
        wait_for_all(chain.from_iterable(pending))
        return [first_error([_confirmed(future) for future in futures]) for futures in pending]

    def write_enrolments(self, writes: Sequence[EnrolmentWrite]) -> list[ReconciliationError | None]:
        """Write each enrolment's row: its cells change all together or not at all.

        None means written at LOCAL_QUORUM; with an error the row may be written nevertheless.
        """
        pending = [self._write(self._enrolment_parts(write)) for write in writes]
        wait_for_all(pending)
        return [_confirmed(future) for future in pending]

    def probe(self) -> None:
        """Raise StoreUnavailable unless the enrolments table takes reads and writes at LOCAL_QUORUM.

        Replicas that are out of space or overloaded may answer reads and refuse every write.
        """
        reads = [self._reads.send(self._statements.probe, (user,)) for user in PROBE_USERS]
        writes = [self._write([(self._statements.probe_write, (user, user, user))]) for user in PROBE_USERS]
        answers = [self._reads.rows(future) for future in reads]
        for what, error in (
            ("reads", first_error(answers)),
            ("writes", first_error([_confirmed(future) for future in writes])),
        ):
            if error is not None:
                raise StoreUnavailable(f"the enrolments table answers no {what}: {error}") from error

    def server_clock_ms(self) -> int:
        """Return the clock of one Cassandra node in milliseconds; raises StoreUnavailable."""
        return self._reads.server_clock_ms()

    def clock_difference(self) -> float:
        """Return by how many seconds this host's clock is ahead of a Cassandra node's; raises StoreUnavailable."""
        return self._reads.clock_difference()

    def _consumption(self, rows: Sequence[tuple[Any, ...]]) -> tuple[Consumption, ...]:
        if self._config.completion_times:
            return tuple(consumption_row(*row) for row in rows)
        return tuple(Consumption(content_id, IN_PROGRESS if status is None else status) for content_id, status in rows)

    def _aggregate(self, write: AggregateWrite) -> tuple[Statement, tuple[object, ...]]:
        values = (
            {"completedCount": write.completed_count},
            {"completedCount": write.updated_ms},
            "Course",
            write.activity_id,
            write.user_id,
            f"cb:{write.batch_id}",
        )
        return self._statements.add_aggregate, self._stamped(write.stamp_us, values)

    def _enrolment_parts(self, write: EnrolmentWrite) -> list[tuple[Statement, tuple[object, ...]]]:
        key = _key_values(write.enrolment)
        cells: tuple[object, ...] = (write.progress, dict(write.content_status), write.updated_ms)
        if write.completion_percentage is not None:
            cells = (*cells, write.completion_percentage)
        if write.completed_on_ms is not None and write.status is not None:
            completed = (*cells, write.completed_on_ms, write.status.status, *key)
            return [(self._statements.write_completed_enrolment, self._stamped(write.stamp_us, completed))]
        parts = [(self._statements.write_enrolment, self._stamped(write.stamp_us, (*cells, *key)))]
        if write.status is not None:
            status = self._stamped(write.status.stamp_us, (write.status.status, *key))
            parts.append((self._statements.write_status, status))
        return parts

    def _stamped(self, stamp_us: int, values: tuple[object, ...]) -> tuple[object, ...]:
        return (stamp_us, *values) if self._config.write_timestamps else values

    def _write(self, parts: Sequence[tuple[Statement, tuple[object, ...]]]) -> Pending:
        def bound() -> Bound:
            if len(parts) == 1:
                ((statement, values),) = parts
                return statement.bind(values)
            batch = BatchStatement(BatchType.UNLOGGED)
            # Maps are added to or assigned and every cell has its stamp: once or twice is the same.
            batch.is_idempotent = True
            for statement, values in parts:
                batch.add(statement.bind(values))
            return batch

        self._counters.db_updates.inc()
        return self._sender.send(bound)


def _confirmed(pending: Pending) -> ReconciliationError | None:
    if isinstance(pending, ReconciliationError):
        return pending
    try:
        pending.result()
    except Exception as error:  # noqa: BLE001 - every error of the driver is translated, none spoils the group
        return translated(error)
    return None


def _key_values(key: EnrolmentKey) -> tuple[str, str, str]:
    return key.user_id, key.course_id, key.batch_id


def _enrolment(rows: Sequence[tuple[Any, ...]]) -> EnrolmentRow | None:
    return enrolment_row(rows[0]) if rows else None
