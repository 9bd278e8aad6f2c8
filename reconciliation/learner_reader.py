"""Reads what a comparison needs of the three tables, and writes nothing (docs/reconciliation.md, tables)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from cassandra.cluster import Cluster, Session

from reconciliation.binding import Statement
from reconciliation.comparison import AggregateRow, EnrolmentCells, LearnerRows
from reconciliation.counters import Counters
from reconciliation.errors import ReconciliationError, RequestFailed, StoreUnavailable
from reconciliation.model import EnrolmentKey, Look
from reconciliation.statements import ReadTexts, Tables, read_texts
from reconciliation.store_connection import StoreConfig, open_session, prepared
from reconciliation.store_reads import Reads, consumption_row, enrolment_row, first_error

#: A learner with more consumption rows in one batch is not compared: no course has so many contents.
MOST_CONTENTS = 20_000

#: How many reads are on their way at once: a course may have hundreds of units, and a group many courses.
_MOST_IN_FLIGHT = 500
_PROBE_USERS = tuple(f"enrolment-reconciliation-probe-{number}" for number in range(8))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PreparedReads:
    """The statements of `ReadTexts`, by the same names, as this session prepared them."""

    compare_consumption: Statement
    compare_enrolment: Statement
    compare_aggregate: Statement
    probe: Statement


class LearnerReader:
    """Looks at learners; it has no statement that writes. One a process, used by all its threads.

    Every method sends all requests of its group before it waits for the first answer. A result list is aligned with
    the input and holds the value, or the error of that item alone: StoreUnavailable or RequestFailed.
    """

    def __init__(self, cluster: Cluster, session: Session, statements: PreparedReads, counters: Counters) -> None:
        self._cluster = cluster
        self._statements = statements
        self.reads = Reads(session, counters)

    @classmethod
    def connect(cls, config: StoreConfig, counters: Counters) -> "LearnerReader":
        """Return a reader that is ready for use.

        Raises StoreUnavailable when no host answers, SettingsError when keyspace, table or column isn't there.
        """
        return cls(*open_session(config, partial(prepare_reads, config)), counters)

    def close(self) -> None:
        """Close all connections; the reader can't be used afterwards."""
        self._cluster.shutdown()

    def look(self, keys: Sequence[EnrolmentKey]) -> list[LearnerRows | ReconciliationError]:
        """Return all consumption rows and the enrolment of each key, as they are now."""
        statements = self._statements
        pending = [
            (
                self.reads.send(statements.compare_consumption, (*_key_values(key), MOST_CONTENTS + 1)),
                self.reads.send(statements.compare_enrolment, _key_values(key)),
            )
            for key in keys
        ]
        # Both are collected even where the first has failed: no answer is left behind in flight.
        answers = [(self.reads.rows(consumption), self.reads.rows(enrolment)) for consumption, enrolment in pending]
        return [_learner_rows(consumption, enrolment) for consumption, enrolment in answers]

    def aggregates(
        self, wanted: Sequence[tuple[EnrolmentKey, Collection[str]]]
    ) -> list[Mapping[str, AggregateRow] | ReconciliationError]:
        """Return for each enrolment, by activity id, those of these activities' aggregate rows that are there."""
        questions = [(at, key, activity) for at, (key, activities) in enumerate(wanted) for activity in activities]
        found: list[dict[str, AggregateRow]] = [{} for _ in wanted]
        errors: list[ReconciliationError | None] = [None for _ in wanted]
        for start in range(0, len(questions), _MOST_IN_FLIGHT):
            part = questions[start : start + _MOST_IN_FLIGHT]
            pending = [
                self.reads.send(
                    self._statements.compare_aggregate, ("Course", activity, key.user_id, f"cb:{key.batch_id}")
                )
                for _, key, activity in part
            ]
            for (at, _, activity), rows in zip(part, [self.reads.rows(it) for it in pending], strict=True):
                if isinstance(rows, ReconciliationError):
                    errors[at] = rows
                elif rows:
                    found[at][activity] = _aggregate_row(*rows[0])
        return [error or rows for error, rows in zip(errors, found, strict=True)]

    def probe(self) -> None:
        """Raise StoreUnavailable unless the enrolments table takes reads at LOCAL_QUORUM."""
        pending = [self.reads.send(self._statements.probe, (user,)) for user in _PROBE_USERS]
        error = first_error([self.reads.rows(it) for it in pending])
        if error is not None:
            raise StoreUnavailable(f"the enrolments table answers no reads: {error}") from error

    def clock_difference(self) -> float:
        """Return by how many seconds this host's clock is ahead of a Cassandra node's; raises StoreUnavailable."""
        return self.reads.clock_difference()


def prepare_reads(config: StoreConfig, session: Session, tables: Tables) -> PreparedReads:
    """Prepare what a comparison reads with. Raises SettingsError where a table or column isn't there."""
    texts = read_texts(tables, completion_times=config.completion_times)
    named = {field.name: getattr(texts, field.name) for field in fields(ReadTexts)}
    return PreparedReads(**prepared(session, named, tables))


def _learner_rows(
    consumption: list[tuple[Any, ...]] | ReconciliationError, enrolment: list[tuple[Any, ...]] | ReconciliationError
) -> LearnerRows | ReconciliationError:
    if isinstance(consumption, ReconciliationError):
        return consumption
    if isinstance(enrolment, ReconciliationError):
        return enrolment
    if len(consumption) > MOST_CONTENTS:
        return RequestFailed(f"the learner has more than {MOST_CONTENTS} contents in this batch")
    contents = tuple(consumption_row(content, status, *completed) for content, status, _, *completed in consumption)
    written = {content: written_us for content, _, written_us, *_ in consumption if written_us is not None}
    if not enrolment:
        return LearnerRows(Look(contents, None), None, written)
    *cells, progress, content_status = enrolment[0]
    row = enrolment_row(cells)
    statuses = None if content_status is None else dict(content_status)
    found = EnrolmentCells(row.status, row.completed_on_ms, progress, statuses)
    return LearnerRows(Look(contents, row), found, written)


def _aggregate_row(aggregates: Mapping[str, float] | None, updated: Mapping[str, datetime] | None) -> AggregateRow:
    values, times = dict(aggregates or {}), dict(updated or {})
    at = times.get("completedCount")
    return AggregateRow(
        completed_count=values.get("completedCount"),
        updated_ms=None if at is None else (at.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1),
        others=tuple(sorted(name for name in values if name != "completedCount")),
    )


def _key_values(key: EnrolmentKey) -> tuple[str, str, str]:
    return key.user_id, key.course_id, key.batch_id
