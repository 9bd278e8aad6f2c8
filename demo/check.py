"""Compares what came of a run with what must come of it: a demonstration that can't fail shows nothing."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from demo.kafka import Event
from demo.learners import DONE, Learner
from demo.requests import FORGETFUL_USER
from demo.rows import Rows


@dataclass(frozen=True, slots=True)
class Result:
    """What a run did: how many requests ended in which way, the rows afterwards, and the events."""

    sent: int
    settled: int
    skipped: int
    seconds: float
    began: datetime
    rows: Sequence[Rows]
    certificates: Sequence[Event]
    audits: Sequence[Event]
    failures: Sequence[Event]

    @property
    def done(self) -> int:
        """The requests that ended without failure."""
        return self.settled - self.skipped - len(self.failures)


def unmet(learners: Sequence[Learner], result: Result) -> list[str]:
    """Say what is not as it must be, a sentence each; nothing when all is well."""
    return [*_of_learners(learners, result), *_of_events(learners, result), *_of_figures(learners, result)]


def expected_counts(learner: Learner) -> Mapping[str, float]:
    """Give the aggregates that must be there for a learner, by the course's or unit's id."""
    course = learner.course
    done = {consumed.content_id for consumed in learner.consumed if consumed.status == DONE}
    units = {unit_id for consumed in learner.consumed for unit_id in course.units_above(consumed.content_id)}
    # a retired course has no leaf nodes left, so its units count nothing
    counts = {unit_id: 0.0 if course.retired else float(len(course.required(unit_id) & done)) for unit_id in units}
    if learner.expected.course_count is not None:
        counts[course.course_id] = learner.expected.course_count
    return counts


def _of_learners(learners: Sequence[Learner], result: Result) -> Iterator[str]:
    for learner, rows in zip(learners, result.rows, strict=True):
        who = f"{learner.name} ({learner.case})"
        before, wanted, found = learner.before, learner.expected.enrolment, rows.enrolment
        if wanted is None or found is None:
            if wanted is not found:
                yield f"{who}: {'no enrolment row' if found is None else 'an enrolment row that nobody asked for'}"
        elif (found.progress, found.status) != (wanted.progress, wanted.status):
            yield (
                f"{who}: progress {found.progress}, status {found.status} instead of {wanted.progress}, {wanted.status}"
            )
        elif learner.expected.certificate:
            if found.completed_on is None or found.completed_on < result.began:
                yield f"{who}: completedon is {found.completed_on} and not of this run"
        elif before is not None and found.completed_on != before.completed_on:
            yield f"{who}: completedon was changed to {found.completed_on}"
        if dict(rows.aggregates) != dict(expected_counts(learner)):
            yield f"{who}: aggregates {dict(rows.aggregates)} instead of {dict(expected_counts(learner))}"


def _of_events(learners: Sequence[Learner], result: Result) -> Iterator[str]:
    wanted = Counter(learner.user_id for learner in learners if learner.expected.certificate)
    for kind, events in (("certificate", result.certificates), ("audit", result.audits)):
        # an event may be repeated under its mid (docs/reliability.md); two mids are two announcements
        found = Counter(key for key, _ in {(event.key, event.value["mid"]) for event in events})
        for user_id, count in ((wanted - found) + (found - wanted)).items():
            names = [learner.name for learner in learners if learner.user_id == user_id] or [user_id]
            yield f"{names[0]}: {count} {kind} event(s) too {'few' if user_id in wanted - found else 'many'}"
    for event in result.certificates:
        if event.value["edata"]["userIds"] != [event.key]:
            yield f"the certificate event {event.value['mid']} has key {event.key}"


def _of_figures(learners: Sequence[Learner], result: Result) -> Iterator[str]:
    wanted = sum(learner.clicks for learner in learners)
    if result.settled != result.sent:
        yield f"{result.settled} of {result.sent} requests are settled"
    if (result.done, result.skipped) != (wanted, 1):
        yield f"{result.done} requests done and {result.skipped} skipped instead of {wanted} and 1"
    reasons = [(event.key, event.value["failInfo"]["errorCode"]) for event in result.failures]
    if reasons != [(FORGETFUL_USER, "INVALID_REQUEST")]:
        yield f"the failed topic holds {reasons or 'nothing'} instead of the one request without courseId"
