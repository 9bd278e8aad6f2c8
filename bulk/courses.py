"""What courses require, kept for a few minutes: a scan meets the same few courses again and again."""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from reconciliation.course import Course
from reconciliation.course_lookup import look_up
from reconciliation.errors import OutageError, ReconciliationError
from reconciliation.model import CourseRelations
from reconciliation.relation_sets import Relations
from reconciliation.search import CollectionSearch

#: How long what was read of a course is used, in seconds.
KEPT_SECONDS = 120.0
#: All courses that are kept have no more contents than this together; the least recently used leave first.
MOST_CONTENTS = 200_000


@dataclass(slots=True)
class _Kept:
    course: Course
    asked: frozenset[str]
    until: float


class Courses:
    """The relation sets of courses with a memory, which is bounded; one a process, for one thread.

    `search` is None where service.search.basePath is not set; `clock` gives seconds that never go back.
    """

    def __init__(
        self, relations: Relations, search: CollectionSearch | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._relations = relations
        self._search = search
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._contents = 0

    def close(self) -> None:
        """Close all connections."""
        self._relations.close()
        if self._search is not None:
            self._search.close()

    def known(self, wanted: Mapping[str, Collection[str]]) -> dict[str, Course]:
        """Give what is known of courses, from memory where it is new enough and holds these contents.

        `wanted` maps a course's id to ids of its contents. Raises an OutageError where a source of the sets is away.
        """
        now = self._clock()
        courses, missing = {}, {}
        for course_id, contents in wanted.items():
            kept = self._kept.get(course_id)
            if kept is None or kept.until <= now:
                missing[course_id] = frozenset(contents)
            elif kept.asked.issuperset(contents):
                self._kept.move_to_end(course_id)
                courses[course_id] = kept.course
            else:
                missing[course_id] = kept.asked.union(contents)
        return courses | self.fresh(missing)

    def fresh(self, wanted: Mapping[str, Collection[str]]) -> dict[str, Course]:
        """Give what is known of courses now, and keep it. Raises an OutageError where a source of the sets is away."""
        found = {
            course_id: _course(answer) for course_id, answer in look_up(self._relations, self._search, wanted).items()
        }
        for course_id, course in found.items():
            # a gap in the cache, or a search service that was away, is asked about again by the next who needs it
            if course_id in course.relations.leaf_nodes:
                self._keep(course_id, course, frozenset(wanted[course_id]))
            else:
                self._forget(course_id)
        return found

    def _keep(self, course_id: str, course: Course, asked: frozenset[str]) -> None:
        self._forget(course_id)
        self._kept[course_id] = _Kept(course, asked, self._clock() + KEPT_SECONDS)
        self._contents += len(asked) + 1
        while self._contents > MOST_CONTENTS and len(self._kept) > 1:
            self._forget(next(iter(self._kept)))

    def _forget(self, course_id: str) -> None:
        kept = self._kept.pop(course_id, None)
        if kept is not None:
            self._contents -= len(kept.asked) + 1


def _course(answer: Course | ReconciliationError) -> Course:
    """Raise what keeps us from asking; a course's own trouble goes with it, to whoever judges its learners."""
    course = Course(CourseRelations(), None, answer) if isinstance(answer, ReconciliationError) else answer
    if isinstance(course.unknown, OutageError):
        raise course.unknown
    return course
