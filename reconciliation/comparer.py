"""Compares a group of requests with what another job left in the tables: shadow mode (docs/shadow.md).

It stands where the `Reconciler` stands otherwise. It is given neither a publisher nor a store that writes, so there is
nothing in it that could.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from reconciliation.comparison import AggregateRow, LearnerRows, table_state
from reconciliation.counters import Counters
from reconciliation.course import Course
from reconciliation.course_lookup import look_up
from reconciliation.errors import PutOff, ReconciliationError, RequestFailed
from reconciliation.learner_reader import LearnerReader
from reconciliation.model import Attempt, Completion, Failed, Look, Outcome
from reconciliation.progress import Rules
from reconciliation.reconciling import RecordDebts
from reconciliation.relation_sets import Relations
from reconciliation.search import CollectionSearch
from reconciliation.shadow import Comparison, Expectations, compare, expectations
from reconciliation.shadow_report import ComparisonReport, tell

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Work:
    """One attempt on its way through the steps; `error` takes it out of all that follow."""

    attempt: Attempt
    rows: LearnerRows = field(default_factory=lambda: LearnerRows(Look((), None), None))
    expected: Expectations | None = None
    comparison: Comparison | None = None
    error: ReconciliationError | None = None


class Comparer:
    """Says for each request in what the tables differ from what we would have left there.

    Args:
        open_reader: gives the connection to Cassandra, which only reads; raises StoreUnavailable while there is none.
        relations: the relation cache.
        search: asks for a course's status; None where `service.search.basePath` is not set.
        rules: the switches that change what we would write.
        report: takes what was found.
        counters: what is counted on the way.
        delay: how old a request is when it is compared, in seconds, so that the other job has had its turn.
        now_us: the clock, in microseconds since 1970.

    """

    def __init__(
        self,
        *,
        open_reader: Callable[[], LearnerReader],
        relations: Relations,
        search: CollectionSearch | None,
        rules: Rules,
        report: ComparisonReport,
        counters: Counters,
        delay: float,
        now_us: Callable[[], int],
    ) -> None:
        self._open_reader = open_reader
        self._relations = relations
        self._search = search
        self._rules = rules
        self._report = report
        self._counters = counters
        self._delay = delay
        self._now_us = now_us

    def reconcile(self, attempts: Sequence[Attempt], record_debts: RecordDebts) -> list[Outcome | Failed]:  # noqa: ARG002 - the Reconciler's signature; nothing is owed here
        """Compare these attempts; gives one result for each, in their order.

        One that is too young is put off. Raises LedgerUnavailable where the report can't be written: it is compared
        again then, and counted once.
        """
        works = [_Work(attempt, error=self._too_young(attempt)) for attempt in attempts]
        if _alive(works):
            try:
                reader = self._open_reader()
                self._look(reader, works)
                self._expect(works)
                self._compare(reader, works)
            except ReconciliationError as error:
                # a server is away: it concerns all that had not failed by themselves
                for work in _alive(works):
                    work.error = error
        comparisons = [work.comparison for work in works if work.comparison is not None and work.error is None]
        tell(comparisons, self._report, self._counters)
        return [_result(work) for work in works]

    def standing(self, completions: Sequence[Completion]) -> list[bool | None]:
        """Say that none of these completions is ours to announce."""
        return [False for _ in completions]

    def _too_young(self, attempt: Attempt) -> PutOff | None:
        left = attempt.requested_ms / 1000 + self._delay - self._now_us() / 1_000_000
        # a request whose clock is ahead of ours waits no longer than any other
        return PutOff("too young to be compared (shadow.delay)", min(left, self._delay)) if left > 0 else None

    def _look(self, reader: LearnerReader, works: Sequence[_Work]) -> None:
        looking = _alive(works)
        for work, rows in zip(looking, reader.look([work.attempt.enrolment for work in looking]), strict=True):
            if isinstance(rows, ReconciliationError):
                work.error = rows
            else:
                work.rows = rows

    def _expect(self, works: Sequence[_Work]) -> None:
        """Ask what the courses require and plan what we would have left behind."""
        wanted: dict[str, set[str]] = {}
        for work in _alive(works):
            if work.rows.look.consumption:
                contents = wanted.setdefault(work.attempt.enrolment.course_id, set())
                contents.update(row.content_id for row in work.rows.look.consumption)
        courses = look_up(self._relations, self._search, wanted)
        for work in _alive(works):
            now_us = self._now_us()
            course = courses.get(work.attempt.enrolment.course_id, Course())
            if isinstance(course, ReconciliationError):
                work.error = course
                continue
            try:
                work.expected = expectations(
                    work.attempt,
                    work.rows,
                    course,
                    self._rules,
                    stamp_us=now_us,
                    now_ms=now_us // 1000,
                )
            except ReconciliationError as error:
                work.error = error
            except Exception as error:
                # a request that breaks our own code is poison to itself alone
                log.exception("a request could not be planned", entry=work.attempt.entry_id)
                work.error = RequestFailed(f"{type(error).__name__}: {error}")

    def _compare(self, reader: LearnerReader, works: Sequence[_Work]) -> None:
        comparing = [(work, work.expected) for work in _alive(works) if work.expected is not None]
        wanted = [
            (work.attempt.enrolment, [write.activity_id for write in expected.ours.aggregates])
            for work, expected in comparing
        ]
        for (work, expected), aggregates in zip(comparing, reader.aggregates(wanted), strict=True):
            if isinstance(aggregates, ReconciliationError):
                work.error = aggregates
                continue
            work.comparison = compare(
                work.attempt,
                work.rows,
                table_state(work.rows.enrolment, aggregates),
                expected,
                self._rules,
                _written_ms(list(aggregates.values())),
            )


def _written_ms(aggregates: Sequence[AggregateRow]) -> int | None:
    return max((row.updated_ms for row in aggregates if row.updated_ms is not None), default=None)


def _alive(works: Sequence[_Work]) -> list[_Work]:
    return [work for work in works if work.error is None]


def _result(work: _Work) -> Outcome | Failed:
    if work.error is not None:
        return Failed(work.attempt.entry_id, work.error)
    assert work.expected is not None  # noqa: S101 - for the type checker: what has no error was compared
    return Outcome(work.attempt.entry_id, work.expected.ours.verdict)
