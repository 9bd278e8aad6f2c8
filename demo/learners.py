"""The learners of the demonstration: what they consumed, how their enrolment stands, and what must come of it."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from demo.course import FURTHER_READING, NUMERACY, NUMERACY_CONTENTS, RETIRED, SHARED_CONTENT, SMALL, SURVEY, Course

IN_PROGRESS = 1
DONE = 2
_NAMESPACE = uuid.UUID("5a5c9c0e-3f0f-4c6b-8f0f-6a3f5f1f7d10")
_LONG_AGO = datetime(2026, 1, 12, 9, 30, tzinfo=UTC)
_REQUIRED = tuple(content.content_id for content in NUMERACY_CONTENTS if not content.optional)


@dataclass(frozen=True, slots=True)
class Consumed:
    """One content that a learner opened; a status of None is an empty cell."""

    content_id: str
    status: int | None


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an enrolment's row says; None is an empty cell."""

    progress: int | None
    status: int | None
    completed_on: datetime | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """What must be there afterwards. `enrolment` None: there must be no row.

    `certificate`: the completion is written and announced now; otherwise completedon stays as it was. `course_count` is
    the course's aggregate, None where no such row may be written.
    """

    enrolment: Enrolment | None
    certificate: bool
    course_count: float | None


@dataclass(frozen=True, slots=True)
class Learner:
    """One learner in one course; `clicks` is how often "Sync progress now" is pressed."""

    name: str
    case: str
    user_id: str
    course: Course
    consumed: tuple[Consumed, ...]
    before: Enrolment | None
    expected: Expected
    clicks: int = 1


def _done(count: int, opened: int = 0) -> tuple[Consumed, ...]:
    """Give the first `count` required contents as completed, and the next `opened` as begun."""
    done = [Consumed(content_id, DONE) for content_id in _REQUIRED[:count]]
    return (*done, *(Consumed(content_id, IN_PROGRESS) for content_id in _REQUIRED[count : count + opened]))


def _group(
    names: Sequence[str],
    case: str,
    consumed: tuple[Consumed, ...],
    before: Enrolment | None,
    expected: Expected,
    clicks: int = 1,
) -> list[Learner]:
    return [
        Learner(name, case, str(uuid.uuid5(_NAMESPACE, name)), NUMERACY, consumed, before, expected, clicks)
        for name in names
    ]


_ALL = len(_REQUIRED)
_COMPLETED = Expected(Enrolment(_ALL, DONE), certificate=True, course_count=float(_ALL))
_EVERYTHING = (*_done(_ALL), Consumed(FURTHER_READING.content_id, DONE))
_FOREIGN = Consumed("do_2140009999", DONE)


def _in_progress(count: int) -> Expected:
    return Expected(Enrolment(count, IN_PROGRESS), certificate=False, course_count=float(count))


def _numeracy_learners() -> list[Learner]:
    already = Enrolment(_ALL, DONE, _LONG_AGO)
    unset = (*_done(3), Consumed(_REQUIRED[3], None))
    return [
        *_group(["Asha", "Bilal", "Chitra"], "halfway", _done(6, opened=1), Enrolment(2, 1), _in_progress(6)),
        *_group(["Deepa", "Eshan"], "halfway", _done(9), Enrolment(None, 0), _in_progress(9)),
        *_group(["Farah", "Gopal"], "halfway", _done(11, opened=1), Enrolment(11, 1), _in_progress(11)),
        *_group(
            ["Hema", "Irfan", "Jaya", "Kiran", "Lata", "Manoj", "Nisha"],
            "complete, still at 1",
            _EVERYTHING,
            Enrolment(10, 1),
            _COMPLETED,
        ),
        *_group(
            ["Omar", "Priya", "Qadir", "Rekha"],
            "opened nothing yet",
            (),
            Enrolment(0, 0),
            Expected(Enrolment(0, 0), certificate=False, course_count=None),
        ),
        *_group(["Sunil", "Tara", "Uma", "Vikram"], "all but the optional", _done(_ALL), Enrolment(11, 1), _COMPLETED),
        *_group(["Wahida", "Yusuf", "Zoya"], "fell back", _done(5, opened=3), Enrolment(8, 1), _in_progress(5)),
        *_group(
            ["Anil", "Bina", "Chetan", "Divya"],
            "already completed",
            _EVERYTHING,
            already,
            Expected(already, certificate=False, course_count=float(_ALL)),
        ),
        *_group(
            ["Ekta", "Feroz"],
            "no enrolment row",
            _done(7),
            None,
            Expected(None, certificate=False, course_count=7.0),
        ),
        *_group(["Gita"], "row status null", _done(3), Enrolment(None, None), _in_progress(3)),
        *_group(["Hari"], "content status null", unset, Enrolment(2, 1), _in_progress(3)),
        *_group(["Indu", "Jamil"], "foreign content", (*_done(4), _FOREIGN), Enrolment(3, 1), _in_progress(4)),
        *_group(["Kavita"], "impatient: 5 clicks", _EVERYTHING, Enrolment(12, 1), _COMPLETED, clicks=5),
    ]


def _other_learners() -> list[Learner]:
    shared = tuple(content.content_id for content in sorted(SHARED_CONTENT.all_contents(), key=lambda it: it.title))
    return [
        Learner(
            "Example 1",
            "known: no row, 2 of 3",
            "8454cb21-3ce9-4e30-85b5-fade097880d8",
            SHARED_CONTENT,
            tuple(Consumed(content_id, status) for content_id, status in zip(shared, (2, 2, 1), strict=True)),
            None,
            Expected(None, certificate=False, course_count=2.0),
        ),
        Learner(
            "Example 2",
            "known: 3 of 3",
            "user001",
            SMALL,
            tuple(Consumed(f"do_R{number}", DONE) for number in (1, 2, 3)),
            Enrolment(None, IN_PROGRESS),
            Expected(Enrolment(3, DONE), certificate=True, course_count=3.0),
        ),
        Learner(
            "Lakshmi",
            "course is retired",
            str(uuid.uuid5(_NAMESPACE, "Lakshmi")),
            RETIRED,
            (Consumed(SURVEY.content_id, DONE),),
            Enrolment(0, IN_PROGRESS),
            Expected(Enrolment(0, IN_PROGRESS), certificate=False, course_count=None),
        ),
    ]


LEARNERS = (*_numeracy_learners(), *_other_learners())

#: Whose aggregates are shown at the end.
SHOWN_LEARNER = LEARNERS[0]
