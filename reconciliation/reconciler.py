"""Reconciles a group of requests together, without letting one's failure touch another (docs/reconciliation.md).

The order is the promise: look, decide, write aggregates, record the debt, write the enrolment, read a completion back,
announce it, and only then say that the request is done.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from reconciliation import progress
from reconciliation.completion_time import completed_anew
from reconciliation.counters import Counters
from reconciliation.course_list import CourseList
from reconciliation.durations import Stage, Stages
from reconciliation.enrolment_store import EnrolmentStore
from reconciliation.errors import (
    ClaimLost,
    CompletionSwallowed,
    ReconciliationError,
    RelationsMissing,
    RequestFailed,
)
from reconciliation.events import audit_event, certificate_event, completion_mid
from reconciliation.model import (
    Attempt,
    CollectionStatus,
    Completion,
    CourseRelations,
    Debt,
    DebtStatus,
    Failed,
    Outcome,
    OutgoingEvent,
    Verdict,
)
from reconciliation.personal import traceback_without_learners, without_learners
from reconciliation.publisher import EventPublisher
from reconciliation.reconciling import RecordDebts
from reconciliation.relation_sets import Relations
from reconciliation.search import CollectionSearch
from reconciliation.work import Work, above, alive, changed_users, shows, take_errors

log = structlog.get_logger(__name__)

#: How often a row that carries a write time not older than our stamp is looked at before we stamp above it.
MOST_LOOKS = 3


@dataclass(frozen=True, slots=True)
class EventTopics:
    """Where completions are announced, and the channel that the audit event names."""

    certificate: str
    audit: str
    channel: str


class Reconciler:
    """Does what docs/reconciliation.md says, for a group of requests at once.

    Args:
        open_store: gives the connection to Cassandra; raises StoreUnavailable while there is none.
        relations: reads the relation sets.
        search: asks for a course's status; None where `service.search.basePath` is not set.
        publisher: sends events to Kafka and waits until it has them.
        rules: the switches that change what is written.
        topics: where completions are announced.
        course_list: drops learners' cached course lists; None where they are left to expire.
        counters: what is counted on the way.
        stages: what times the steps.
        now_us: the clock, in microseconds since 1970.

    """

    def __init__(
        self,
        *,
        open_store: Callable[[], EnrolmentStore],
        relations: Relations,
        search: CollectionSearch | None,
        publisher: EventPublisher,
        rules: progress.Rules,
        topics: EventTopics,
        course_list: CourseList | None = None,
        counters: Counters,
        stages: Stages,
        now_us: Callable[[], int],
    ) -> None:
        self._open_store = open_store
        self._relations = relations
        self._search = search
        self._publisher = publisher
        self._rules = rules
        self._topics = topics
        self._course_list = course_list
        self._counters = counters
        self._stages = stages
        self._now_us = now_us

    def reconcile(self, attempts: Sequence[Attempt], record_debts: RecordDebts) -> list[Outcome | Failed]:
        """Reconcile these attempts; gives one result for each, in their order.

        `record_debts` writes completions down before they happen and says of each whether it is owed, was paid long
        ago, or is no longer ours to write; what it raises ends the whole group.
        """
        works = [Work(attempt) for attempt in attempts]
        try:
            with self._stages.time(Stage.LOOK):
                store = self._open_store()
                self._look(store, works)
            self._decide(works)
            with self._stages.time(Stage.AGGREGATES):
                self._write_aggregates(store, works)
            self._record_debts(store, works, record_debts)
            with self._stages.time(Stage.ENROLMENTS):
                self._write_enrolments(store, works)
            if self._course_list is not None:
                self._course_list.changed(changed_users(works))
            self._announce(works)
        except ReconciliationError as error:
            # a server is away: it concerns all that had not failed by themselves
            for work in alive(works):
                work.error = error
        return [self._result(work) for work in works]

    def standing(self, completions: Sequence[Completion]) -> list[bool | None]:
        """Say of each completion whether its row shows it now; None where the row can't be read."""
        try:
            rows = self._open_store().read_completions([completion.enrolment for completion in completions])
        except ReconciliationError:
            return [None for _ in completions]
        return [
            None if isinstance(row, ReconciliationError) else shows(row, completion)
            for completion, row in zip(completions, rows, strict=True)
        ]

    def _look(self, store: EnrolmentStore, works: Sequence[Work]) -> None:
        """Read every learner; a row written not before our stamp is looked at again, then stamped above.

        Without that a writer whose clock is ahead would hide what we decided from a later look.
        """
        again = list(works)
        for number in range(1, MOST_LOOKS + 1):
            stamp_us = self._now_us()
            looks = store.look([work.attempt.enrolment for work in again])
            for work, look in zip(again, looks, strict=True):
                work.stamp_us = stamp_us
                if isinstance(look, ReconciliationError):
                    work.error = look
                else:
                    work.look = look
            again = [work for work in alive(again) if progress.clock_conflict(work.look.enrolment, work.stamp_us)]
            if not again:
                return
            if number == MOST_LOOKS:
                for work in again:
                    work.stamp_us = above(work.look, work.stamp_us)

    def _decide(self, works: Sequence[Work]) -> None:
        """Read what the courses require and plan each request's writes."""
        consumed = [work for work in alive(works) if work.look.consumption]
        for work in alive(works):
            if not work.look.consumption:
                # needs no relations, so it waits for none
                self._plan(work, CourseRelations(), None)
        relations = self._read_relations(consumed)
        statuses = self._collection_statuses(relations)
        for work in alive(consumed):
            course_id = work.attempt.enrolment.course_id
            self._plan(work, relations[course_id], statuses.get(course_id))

    def _read_relations(self, consumed: Sequence[Work]) -> dict[str, CourseRelations]:
        """Read the relation sets of all courses together; where that fails, the course's requests have the error."""
        wanted: dict[str, set[str]] = {}
        for work in consumed:
            contents = wanted.setdefault(work.attempt.enrolment.course_id, set())
            contents.update(row.content_id for row in work.look.consumption)
        if not wanted:
            return {}
        answers: Mapping[str, CourseRelations | ReconciliationError]
        try:
            with self._stages.time(Stage.RELATIONS):
                answers = self._relations.read(wanted)
        except ReconciliationError as error:
            answers = dict.fromkeys(wanted, error)
        for work in consumed:
            answer = answers.get(work.attempt.enrolment.course_id)
            if isinstance(answer, ReconciliationError):
                work.error = answer
        return {
            course_id: CourseRelations() if answer is None else answer
            for course_id in wanted
            if not isinstance(answer := answers.get(course_id), ReconciliationError)
        }

    def _plan(
        self, work: Work, relations: CourseRelations, status: CollectionStatus | ReconciliationError | None
    ) -> None:
        unknown = status if isinstance(status, ReconciliationError) else None
        try:
            work.plan = progress.plan(
                work.attempt,
                work.look,
                relations,
                self._rules,
                stamp_us=work.stamp_us,
                now_ms=self._now_us() // 1000,
                collection_status=None if isinstance(status, ReconciliationError) else status,
            )
        except RelationsMissing as error:
            # why the search service could not be asked, if that is what a decision hangs on: a debt needs none
            work.error = unknown or error
        except ReconciliationError as error:
            work.error = error
        except Exception as error:  # noqa: BLE001 - it is logged, without the learner's id
            # a request that breaks our own code is poison to itself alone
            users = (work.attempt.enrolment.user_id,)
            trace = traceback_without_learners(error, users)
            log.error("a request could not be planned", entry=work.attempt.entry_id, exception=trace)
            work.error = RequestFailed(without_learners(f"{type(error).__name__}: {error}", users))

    def _collection_statuses(
        self, relations: Mapping[str, CourseRelations]
    ) -> dict[str, CollectionStatus | ReconciliationError]:
        """Ask the search service about each course whose leaf nodes are missing."""
        if self._search is None:
            return {}
        unknown = [course_id for course_id, sets in relations.items() if progress.needs_search(sets, course_id)]
        if not unknown:
            return {}
        with self._stages.time(Stage.SEARCH):
            return self._search.statuses(unknown)

    def _write_aggregates(self, store: EnrolmentStore, works: Sequence[Work]) -> None:
        writing = [work for work in alive(works) if work.plan.aggregates]
        take_errors(writing, store.write_aggregates([work.plan.aggregates for work in writing]))

    def _record_debts(self, store: EnrolmentStore, works: Sequence[Work], record_debts: RecordDebts) -> None:
        owing = [(work, work.plan.completion) for work in alive(works) if work.plan.completion is not None]
        if not owing:
            return
        debts = [Debt(work.attempt.entry_id, completion, completion_mid(completion)) for work, completion in owing]
        with self._stages.time(Stage.DEBTS):
            statuses = record_debts(debts)
        paid: list[Work] = []
        for (work, completion), status in zip(owing, statuses, strict=True):
            if status is DebtStatus.LOST:
                work.error = ClaimLost("the claim ended before the completion was written")
            elif status is DebtStatus.OWED:
                work.announce = completion
            else:
                paid.append(work)
        if paid and self._rules.completed_on_from_consumption:
            self._record_debts(store, self._set_back(store, paid), record_debts)

    def _set_back(self, store: EnrolmentStore, paid: Sequence[Work]) -> list[Work]:
        """Give those whose completion was announced and then taken back, planned anew as a completion of now.

        A row that shows it by now was not set back: whoever lost the claim to us wrote it after our look, and before
        it told the ledger that it had announced it.
        """
        now_ms = self._now_us() // 1000
        anew = [(work, plan) for work in paid if (plan := completed_anew(work.plan, now_ms)) is not None]
        rows = store.read_completions([work.attempt.enrolment for work, _ in anew])
        set_back: list[Work] = []
        for (work, plan), row in zip(anew, rows, strict=True):
            if isinstance(row, ReconciliationError):
                work.error = row
            elif work.plan.completion is not None and not shows(row, work.plan.completion):
                work.plan = plan
                set_back.append(work)
        return set_back

    def _write_enrolments(self, store: EnrolmentStore, works: Sequence[Work]) -> None:
        """Write the enrolments, then make sure that each completion is what a reader sees."""
        writing = [(work, work.plan.enrolment) for work in alive(works) if work.plan.enrolment is not None]
        take_errors([work for work, _ in writing], store.write_enrolments([write for _, write in writing]))
        completed = [work for work, _ in writing if work.error is None and work.plan.completion is not None]
        rows = store.read_completions([work.attempt.enrolment for work in completed])
        for work, row in zip(completed, rows, strict=True):
            completion = work.plan.completion
            if isinstance(row, ReconciliationError):
                work.error = row
            elif completion is None or not shows(row, completion):
                work.error = CompletionSwallowed("a row stamped later hides the completion just written")
                continue
            # also where it could not be read back: the attempt that finds and announces it counts it no more
            self._counters.completed_enrolments.inc()

    def _announce(self, works: Sequence[Work]) -> None:
        """Send both events of each completion; a request is done only when Kafka confirmed both."""
        announcing = [(work, work.announce) for work in alive(works) if work.announce is not None]
        outgoing: list[OutgoingEvent] = []
        for _, completion in announcing:
            now_ms = self._now_us() // 1000
            outgoing.append(certificate_event(completion, self._topics.certificate, now_ms))
            outgoing.append(audit_event(completion, self._topics.audit, self._topics.channel, now_ms))
        if not outgoing:
            return
        with self._stages.time(Stage.ANNOUNCE):
            reports = self._publisher.publish(outgoing)
        for (work, _), certificate, audit in zip(announcing, reports[::2], reports[1::2], strict=True):
            if certificate is None:
                self._counters.certificate_events.inc()
            work.error = certificate or audit

    def _result(self, work: Work) -> Outcome | Failed:
        if work.error is not None:
            return Failed(work.attempt.entry_id, work.error)
        if work.plan.verdict is Verdict.ALREADY_COMPLETED:
            self._counters.processed_enrolments.inc()
        elif work.plan.verdict is Verdict.RETIRED:
            self._counters.retired_consumption_events.inc()
        return Outcome(work.attempt.entry_id, work.plan.verdict, work.announce)
