"""Asks several places for relation sets, one after the other (docs/relations.md, sources)."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence

import structlog

from reconciliation.counters import Counters
from reconciliation.errors import OutageError, ReconciliationError, Server
from reconciliation.model import CourseRelations
from reconciliation.relation_sets import LEAF_NODES, FoundSets, RelationSource, SetName
from reconciliation.reminder import Reminder

log = structlog.get_logger(__name__)

#: A source that was away is asked after the others for so long, in seconds: waiting for it would slow every group.
_LAST_SECONDS = 5.0


class RelationSources:
    """Takes each course's sets from the first source that holds its leaf nodes, and all of them from there.

    Sets of two sources are never mixed: optional nodes that one lacks are rightly missing, and the other's may be
    stale. A course that no source holds is missing only where all of them could be asked; otherwise it has the error of
    the one that could not.

    Args:
        sources: in the order in which they are asked.
        counters: counts sets found and not found, of the source that a course is taken from, and outages answered.
        clock: gives seconds that never go back.

    """

    def __init__(
        self, sources: Sequence[RelationSource], counters: Counters, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sources = tuple(sources)
        self._counters = counters
        self._clock = clock
        self._last_until: dict[str, float] = {}
        self._reminders = {source.name: Reminder() for source in sources}

    def close(self) -> None:
        """Close all connections."""
        for source in self._sources:
            source.close()

    def probes(self) -> Mapping[Server, Callable[[], None]]:
        """Give for each server that is asked a call that raises while it is away."""
        return {source.server: source.probe for source in self._sources}

    def read(self, wanted: Mapping[str, Collection[str]]) -> dict[str, CourseRelations | ReconciliationError]:
        """Return the relations of each course in `wanted`, which maps a course's id to ids of its contents.

        In their place stands why a course could not be asked about.
        """
        open_courses = dict(wanted)
        lacking: dict[str, FoundSets] = {}
        errors: dict[str, ReconciliationError] = {}
        relations: dict[str, CourseRelations | ReconciliationError] = {}
        for source in self._in_order():
            if not open_courses:
                break
            found = self._look(source, open_courses)
            errors = {**found.errors, **errors}
            answered = [it for it in open_courses if it not in found.errors]
            taken = [it for it in answered if SetName(it, it, LEAF_NODES) in found.sets]
            relations |= self._taken(taken, found)
            self._tell_fallback(source, len(taken))
            for course_id in taken:
                del open_courses[course_id]
            for course_id in set(answered) - set(taken):
                # where none has its leaf nodes, its units are those of the first that knows anything of it
                if course_id not in lacking or not _knows(lacking[course_id], course_id):
                    lacking[course_id] = found
        for course_id in open_courses:
            if course_id in errors:
                relations[course_id] = errors[course_id]
            else:
                relations |= self._taken([course_id], lacking[course_id])
        return relations

    def _in_order(self) -> list[RelationSource]:
        now = self._clock()
        return sorted(self._sources, key=lambda source: self._last_until.get(source.name, now) > now)

    def _look(self, source: RelationSource, wanted: Mapping[str, Collection[str]]) -> FoundSets:
        try:
            found = source.look(wanted)
        except OutageError as error:
            found = FoundSets(errors=dict.fromkeys(wanted, error))
        # one course's own trouble says nothing of the source
        is_away = len(found.errors) == len(wanted) and all(isinstance(it, OutageError) for it in found.errors.values())
        if is_away:
            self._last_until[source.name] = self._clock() + _LAST_SECONDS
        elif self._last_until.pop(source.name, None) is not None:
            self._reminders[source.name].reset()
        return found

    def _taken(self, course_ids: Collection[str], found: FoundSets) -> dict[str, CourseRelations]:
        found.count(self._counters, set(course_ids))
        return found.by_course(course_ids)

    def _tell_fallback(self, source: RelationSource, courses: int) -> None:
        """Count and tell that courses come from a source only because one before it is away."""
        before = self._sources[: self._sources.index(source)]
        away = [it.name for it in before if self._last_until.get(it.name, 0.0) > self._clock()]
        if not courses or not away:
            return
        self._counters.relation_fallbacks.inc(courses)
        if self._reminders[away[0]].due("away", self._clock()):
            log.warning(
                "a source of relation sets is away and the next one answers",
                away=away[0],
                answers=source.name,
                courses=courses,
                next_step="bring it back; relations.sources is the order in which they are asked",
            )


def _knows(found: FoundSets, course_id: str) -> bool:
    return any(name.course_id == course_id for name in found.sets)
