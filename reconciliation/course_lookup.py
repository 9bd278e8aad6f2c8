"""Asks what courses require: the relation sets and, where leaf nodes are missing, the search service."""

from collections.abc import Collection, Mapping

from reconciliation import progress
from reconciliation.course import Course
from reconciliation.errors import ReconciliationError
from reconciliation.model import CollectionStatus, CourseRelations
from reconciliation.relation_sets import Relations
from reconciliation.search import CollectionSearch


def look_up(
    relations: Relations, search: CollectionSearch | None, wanted: Mapping[str, Collection[str]]
) -> dict[str, Course | ReconciliationError]:
    """Ask about each course in `wanted`, which maps a course's id to ids of its contents.

    `search` is None where service.search.basePath is not set. In a course's place stands why its relation sets could
    not be asked for; raises an OutageError where that holds for all.
    """
    if not wanted:
        return {}
    found = relations.read(wanted)
    known = {course_id: found.get(course_id, CourseRelations()) for course_id in wanted}
    to_ask = [
        course_id
        for course_id, sets in known.items()
        if isinstance(sets, CourseRelations) and progress.needs_search(sets, course_id)
    ]
    statuses = {} if search is None else search.statuses(to_ask)
    return {
        course_id: _course(sets, statuses.get(course_id)) if isinstance(sets, CourseRelations) else sets
        for course_id, sets in known.items()
    }


def _course(relations: CourseRelations, answer: CollectionStatus | ReconciliationError | None) -> Course:
    if isinstance(answer, ReconciliationError):
        return Course(relations, None, answer)
    return Course(relations, answer)
