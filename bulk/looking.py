"""Looks through one token range: every enrolment is judged by what was scanned, and what seems stuck is read afresh."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from bulk.certificates import may_lack_certificate
from bulk.courses import Courses
from bulk.finder import CountsOf, Enrolled, differences, is_selected, judged, look_of
from bulk.learners import Learners
from bulk.merging import Contents, Row, joined
from bulk.model import Found, Selection, Slice, TokenRange, Unjudged
from bulk.options import ScanOptions
from bulk.patience import Patience, ScanRate
from bulk.ring import token_of
from bulk.source import ScanSource, enrolled
from reconciliation.course import Course
from reconciliation.errors import ScanFailed
from reconciliation.learner_reader import MOST_CONTENTS
from reconciliation.model import EnrolmentKey
from reconciliation.progress import Rules

# What is judged together: the sets of its courses come in one go.
_GROUP = 500
_CONTENTS_A_GROUP = 20_000
#: A slice ends early where its candidates have so many contents: each is told with all of them, before and after, which
#: takes some hundred bytes a content here, and in the process that waits for the slice.
_CONTENTS_A_SLICE = 20_000
#: What an enrolment is taken to have whose contents were not read.
_CONTENTS_UNREAD = 100

_Scanned = tuple[Enrolled, Contents | None]


@dataclass(slots=True)
class _Sliced:
    """What the slice under way has so far; `candidates` are read afresh before they are given out.

    `contents` is how many those have together.
    """

    after: int
    looked_at: int = 0
    contents: int = 0
    found: list[Found] = field(default_factory=list)
    candidates: list[EnrolmentKey] = field(default_factory=list)

    def take(self, scanned: Sequence[_Scanned]) -> None:
        """Take these for candidates."""
        self.candidates += [row.enrolment for row, _ in scanned]
        self.contents += sum(_CONTENTS_UNREAD if contents is None else len(contents) for _, contents in scanned)


class Looker:
    """Looks through token ranges, for one thread.

    Args:
        source: the connection.
        learners: reads candidates afresh.
        courses: what courses require.
        rules: the switches that change what a reconciliation decides.
        options: how it goes about it.
        patience: waits for servers that are away.
        pace: the rate that is kept, in enrolments.
        beat: called for every group of enrolments, so that others see that we go on.
        now_us: the clock, in microseconds since 1970.

    """

    def __init__(
        self,
        source: ScanSource,
        learners: Learners,
        courses: Courses,
        rules: Rules,
        options: ScanOptions,
        *,
        patience: Patience,
        pace: ScanRate,
        beat: Callable[[], object],
        now_us: Callable[[], int],
    ) -> None:
        self._source = source
        self._learners = learners
        self._courses = courses
        self._rules = rules
        self._options = options
        self._patience = patience
        self._pace = pace
        self._beat = beat
        self._now_us = now_us

    def slices(self, selection: Selection, tokens: TokenRange, counts_of: CountsOf | None) -> Iterator[Slice]:
        """Give the range in slices of `slice_size` enrolments; the last ends it.

        They are more where one learner has so many, fewer where much was found.

        `counts_of` gives what the aggregates hold. Raises ScanFailed.
        """
        sliced = _Sliced(tokens.after)
        group: list[_Scanned] = []
        contents, last, most = 0, tokens.after, self._pace.portion(_GROUP)
        for token, row, consumed in self._rows(selection, tokens):
            if token != last and (
                sliced.looked_at + len(group) >= self._options.slice_size or sliced.contents >= _CONTENTS_A_SLICE
            ):
                self._judge(group, selection, counts_of, sliced)
                yield self._ended(sliced, last, selection)
                group, contents, sliced = [], 0, _Sliced(last)
            last = token
            group.append((row, consumed))
            contents += len(consumed or ())
            if len(group) >= most or contents >= _CONTENTS_A_GROUP:
                self._judge(group, selection, counts_of, sliced)
                group, contents = [], 0
        self._judge(group, selection, counts_of, sliced)
        yield self._ended(sliced, tokens.until, selection)

    def _rows(self, selection: Selection, tokens: TokenRange) -> Iterator[tuple[int, Enrolled, Contents | None]]:
        compared = is_compared(selection)
        rows = self._source.enrolments(selection, tokens, self._patience, compared=compared)
        consumption: Iterator[Row] = iter(())
        if compared:
            consumption = self._source.consumption(tokens, self._patience)
        for token, row, contents in joined(rows, consumption, token_of, MOST_CONTENTS):
            yield token, enrolled(row, compared=compared), contents

    def _judge(
        self, group: Sequence[_Scanned], selection: Selection, counts_of: CountsOf | None, sliced: _Sliced
    ) -> None:
        self._beat()
        self._pace.spend(len(group))
        sliced.looked_at += len(group)
        chosen = [(row, contents) for row, contents in group if is_selected(row, selection)]
        if not selection.stuck and not selection.missing_certificates:
            for row, _ in chosen:
                found = judged(row, selection, None)
                if isinstance(found, Found):
                    sliced.found.append(found)
            return
        if not is_compared(selection) and selection.stuck:
            # few enough to be read one by one
            sliced.take(chosen)
            return
        suspects: set[EnrolmentKey] = set()
        if selection.missing_certificates:
            suspects |= self._may_lack_certificate([row for row, _ in chosen])
        if selection.stuck:
            suspects |= self._may_differ(chosen, counts_of)
        sliced.take([(row, contents) for row, contents in chosen if row.enrolment in suspects])

    def _may_lack_certificate(self, rows: Sequence[Enrolled]) -> set[EnrolmentKey]:
        now_ms, age = self._now_us() // 1000, self._options.certificate_older_than_ms
        keys = [row.enrolment for row in rows if may_lack_certificate(row, now_ms=now_ms, older_than_ms=age)]
        with_templates = self._learners.with_templates({(key.course_id, key.batch_id) for key in keys})
        return {key for key in keys if (key.course_id, key.batch_id) in with_templates}

    def _may_differ(self, group: Sequence[_Scanned], counts_of: CountsOf | None) -> set[EnrolmentKey]:
        wanted: dict[str, set[str]] = {}
        for row, contents in group:
            if contents:
                wanted.setdefault(row.enrolment.course_id, set()).update(content for content, _ in contents)
        courses = self._patience.insist("the courses' relation sets", lambda: self._courses.known(wanted))
        return {
            row.enrolment
            for row, contents in group
            if contents is None
            or (contents and self._differs(row, contents, courses[row.enrolment.course_id], counts_of))
        }

    def _differs(self, row: Enrolled, contents: Contents, course: Course, counts_of: CountsOf | None) -> bool:
        try:
            found = differences(
                row.enrolment,
                look_of(row.cells, contents),
                row.cells,
                course,
                self._rules,
                counts_of=counts_of,
                now_us=self._now_us(),
            )
        except ScanFailed:
            raise
        except Exception:  # noqa: BLE001 - what can't be judged, for whatever reason, is read afresh, which tells why
            return True
        return bool(found)

    def _ended(self, sliced: _Sliced, until: int, selection: Selection) -> Slice:
        judgements = self._learners.judge(sliced.candidates, selection, self._beat)
        return Slice(
            TokenRange(sliced.after, until),
            sliced.looked_at,
            (*sliced.found, *(it for it in judgements if isinstance(it, Found))),
            tuple(it for it in judgements if isinstance(it, Unjudged)),
        )


def is_compared(selection: Selection) -> bool:
    """Say whether a scan joins enrolments and consumption as they come.

    For one course or batch it does not: what is in it is read one by one, which is less than the whole table.
    """
    return selection.stuck and not selection.course_id and not selection.batch_id
