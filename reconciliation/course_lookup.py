"""Asks what courses require: the relation cache and, where leaf nodes are missing, the search service."""

from collections.abc import Collection, Mapping

from reconciliation import progress
from reconciliation.course import Course
from reconciliation.errors import ReconciliationError
from reconciliation.model import CollectionStatus, CourseRelations
from reconciliation.relation_cache import RelationCache
from reconciliation.search import CollectionSearch


def look_up(
    relations: RelationCache, search: CollectionSearch | None, wanted: Mapping[str, Collection[str]]
) -> dict[str, Course]:
    """Ask about each course in `wanted`, which maps a course's id to ids of its contents.

    `search` is None where service.search.basePath is not set. Raises RelationCacheUnavailable.
    """
    if not wanted:
        return {}
    found = relations.read(wanted)
    known = {course_id: found.get(course_id, CourseRelations()) for course_id in wanted}
    to_ask = [course_id for course_id, sets in known.items() if progress.needs_search(sets, course_id)]
    statuses = {} if search is None else search.statuses(to_ask)
    return {course_id: _course(sets, statuses.get(course_id)) for course_id, sets in known.items()}


def _course(relations: CourseRelations, answer: CollectionStatus | ReconciliationError | None) -> Course:
    if isinstance(answer, ReconciliationError):
        return Course(relations, None, answer)
    return Course(relations, answer)
