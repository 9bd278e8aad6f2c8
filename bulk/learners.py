"""Judges single enrolments by reading each afresh: candidates of a scan, and enrolments that somebody names."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from bulk.certificates import may_lack_certificate
from bulk.courses import Courses
from bulk.finder import Enrolled, differences, is_selected, judged
from bulk.model import Found, Selection, Unjudged
from bulk.options import ScanOptions
from bulk.patience import Patience
from bulk.source import ScanSource
from reconciliation.comparison import Change, LearnerRows
from reconciliation.course import Course
from reconciliation.errors import OutageError, ReconciliationError, RequestFailed
from reconciliation.model import EnrolmentKey
from reconciliation.progress import Rules, unit_ids

#: How many enrolments are read at once, each with a few reads in flight.
_GROUP = 100
_TRIES = 3

#: How long it is remembered whether a batch has a template, in seconds, and of how many batches.
_KEPT_SECONDS = 120.0
_MOST_BATCHES = 50_000
_NEVER = (float("-inf"), False)

Judgement = Found | Unjudged | None
Batch = tuple[str, str]

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Learners:
    """Reads enrolments one by one, at LOCAL_QUORUM and with their courses' relation sets as they are now.

    Args:
        source: the connection.
        courses: what courses require.
        rules: the switches that change what a reconciliation decides.
        options: `aggregates` and `certificate_older_than_ms` of them.
        patience: waits for servers that are away.
        now_us: the clock, in microseconds since 1970.
        clock: gives seconds that never go back.

    """

    def __init__(
        self,
        source: ScanSource,
        courses: Courses,
        rules: Rules,
        options: ScanOptions,
        patience: Patience,
        now_us: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        # by course and batch: until when it is known, and whether there is one
        self._templates: dict[Batch, tuple[float, bool]] = {}
        self._source = source
        self._courses = courses
        self._rules = rules
        self._options = options
        self._patience = patience
        self._now_us = now_us

    def judge(
        self,
        enrolments: Sequence[EnrolmentKey],
        selection: Selection,
        beat: Callable[[], object] = lambda: None,
    ) -> list[Judgement]:
        """Give for each enrolment why it is chosen, or None; one without a row can't be judged.

        `beat` is called now and then. Raises ScanFailed where a server stays away.
        """
        results: list[Judgement] = []
        for start in range(0, len(enrolments), _GROUP):
            beat()
            results += self._group(enrolments[start : start + _GROUP], selection)
        return results

    def with_templates(self, batches: Collection[Batch]) -> set[Batch]:
        """Give those of these batches that have a certificate template, or had one two minutes ago.

        Raises ScanFailed where Cassandra stays away.
        """
        now = self._clock()
        missing = [batch for batch in sorted(batches) if self._templates.get(batch, _NEVER)[0] <= now]
        for start in range(0, len(missing), _GROUP):
            self._remember(missing[start : start + _GROUP], now)
        found = {batch for batch in batches if self._templates[batch][1]}
        if len(self._templates) > _MOST_BATCHES:
            self._templates.clear()
        return found

    def _remember(self, batches: Sequence[Batch], now: float) -> None:
        have = self._patience.insist("batches' templates", lambda: self._source.have_templates(batches))
        for batch, has in zip(batches, have, strict=True):
            self._templates[batch] = (now + _KEPT_SECONDS, has)

    def _group(self, keys: Sequence[EnrolmentKey], selection: Selection) -> list[Judgement]:
        found = self._patience.insist("single enrolments", lambda: self._states(keys, selection))
        chosen = [row for row in found if row is not None and is_selected(row, selection)]
        lacking = self._lacking(chosen, selection)
        compared: Mapping[EnrolmentKey, Judgement] = {}
        if selection.stuck:
            compared = self._compared(chosen, selection, lacking)
        results: list[Judgement] = []
        for key, row in zip(keys, found, strict=True):
            if row is None:
                results.append(Unjudged(key, "there is no such enrolment"))
            elif not is_selected(row, selection):
                results.append(None)
            elif selection.stuck:
                results.append(compared[key])
            else:
                results.append(judged(row, selection, None, lacks_certificate=key in lacking))
        return results

    def _states(self, keys: Sequence[EnrolmentKey], selection: Selection) -> list[Enrolled | None]:
        return self._source.states(keys, certificates=selection.missing_certificates)

    def _lacking(self, rows: Sequence[Enrolled], selection: Selection) -> set[EnrolmentKey]:
        if not selection.missing_certificates:
            return set()
        now_ms, age = self._now_us() // 1000, self._options.certificate_older_than_ms
        keys = [row.enrolment for row in rows if may_lack_certificate(row, now_ms=now_ms, older_than_ms=age)]
        batches = sorted({(key.course_id, key.batch_id) for key in keys})
        have = self._patience.insist("batches' templates", lambda: self._source.have_templates(batches))
        with_templates = {batch for batch, has in zip(batches, have, strict=True) if has}
        return {key for key in keys if (key.course_id, key.batch_id) in with_templates}

    def _compared(
        self, rows: Sequence[Enrolled], selection: Selection, lacking: Collection[EnrolmentKey]
    ) -> dict[EnrolmentKey, Judgement]:
        looks = self._looks([row.enrolment for row in rows])
        wanted: dict[str, set[str]] = {}
        for row, look in zip(rows, looks, strict=True):
            if isinstance(look, LearnerRows) and look.look.consumption:
                contents = wanted.setdefault(row.enrolment.course_id, set())
                contents.update(content.content_id for content in look.look.consumption)
        courses = self._patience.insist("the courses' relation sets", lambda: self._courses.fresh(wanted))
        aggregates = self._aggregates(rows, looks, courses)
        judgements: dict[EnrolmentKey, Judgement] = {}
        for row, look, counts in zip(rows, looks, aggregates, strict=True):
            found = self._differences(row.enrolment, look, courses.get(row.enrolment.course_id, Course()), counts)
            is_lacking = row.enrolment in lacking
            judgements[row.enrolment] = judged(row, selection, found, lacks_certificate=is_lacking)
        return judgements

    def _differences(
        self,
        key: EnrolmentKey,
        look: LearnerRows | ReconciliationError,
        course: Course,
        counts: Mapping[str, float] | ReconciliationError,
    ) -> tuple[Change, ...] | ReconciliationError:
        for answer in (look, counts):
            if isinstance(answer, ReconciliationError):
                return answer
        if not isinstance(look, LearnerRows) or look.enrolment is None or isinstance(counts, ReconciliationError):
            return RequestFailed("the enrolment is no longer there")
        counts_of = (lambda _key, _activities: counts) if self._options.aggregates else None
        try:
            return differences(
                key, look.look, look.enrolment, course, self._rules, counts_of=counts_of, now_us=self._now_us()
            )
        except ReconciliationError as error:
            return error
        except Exception as error:  # noqa: BLE001 - an enrolment that breaks our own code is alone with that
            return RequestFailed(f"{type(error).__name__}: {error}")

    def _looks(self, keys: Sequence[EnrolmentKey]) -> list[LearnerRows | ReconciliationError]:
        return self._each("single enrolments", keys, self._source.learners.look)

    def _aggregates(
        self,
        rows: Sequence[Enrolled],
        looks: Sequence[LearnerRows | ReconciliationError],
        courses: Mapping[str, Course],
    ) -> list[Mapping[str, float] | ReconciliationError]:
        if not self._options.aggregates:
            return [{} for _ in rows]
        wanted = []
        for row, look in zip(rows, looks, strict=True):
            course_id = row.enrolment.course_id
            activities: set[str] = set()
            if isinstance(look, LearnerRows) and look.look.consumption:
                relations = courses[course_id].relations
                activities = {course_id, *unit_ids(look.look.consumption, relations, course_id)}
            wanted.append((row.enrolment, sorted(activities)))
        found = self._each("aggregates", wanted, self._source.learners.aggregates)
        return [
            counts
            if isinstance(counts, ReconciliationError)
            else {name: row.completed_count for name, row in counts.items() if row.completed_count is not None}
            for counts in found
        ]

    def _each(
        self,
        what: str,
        asked: Sequence[Asked],
        read: Callable[[Sequence[Asked]], Sequence[Answer | ReconciliationError]],
    ) -> list[Answer | ReconciliationError]:
        """Read until every answer is there or is an error of that item alone, which stays while Cassandra answers."""
        answers: list[Answer | ReconciliationError] = list(read(asked))
        for _ in range(_TRIES):
            missing = [at for at, answer in enumerate(answers) if isinstance(answer, OutageError)]
            if not missing:
                break
            self._patience.insist(what, self._source.learners.probe)
            for at, answer in zip(missing, read([asked[at] for at in missing]), strict=True):
                answers[at] = answer
        return answers
