"""Compares one course: its hierarchy, the source that a worker takes its sets from, and how the two differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from reconciliation.drift import Drift, drift, expected_names, further_names
from reconciliation.errors import OutageError, ReconciliationError
from reconciliation.hierarchy import Hierarchy, UnreadableHierarchy, read_hierarchy
from reconciliation.hierarchy_reader import HierarchyReader
from reconciliation.model import CourseRelations
from reconciliation.relation_sets import LEAF_NODES, FoundSets, RelationSource, SetName

#: How often what was found is followed to contents and units that the hierarchy lacks.
_MOST_STEPS = 3


class State(StrEnum):
    """What a comparison came to."""

    IN_ORDER = "as it should be"
    DRIFT = "drifts"
    NO_HIERARCHY = "no hierarchy"
    UNREADABLE = "unreadable hierarchy"


@dataclass(frozen=True, slots=True)
class CourseDrift:
    """One course: where its sets were read, and how they differ. `trouble` says why it could not be compared, or ''."""

    course_id: str
    state: State
    source: str = ""
    units: int = 0
    contents: int = 0
    differences: tuple[Drift, ...] = ()
    trouble: str = ""


def compare(course_id: str, reader: HierarchyReader, sources: Sequence[RelationSource]) -> CourseDrift:
    """Compare a course's sets in that of these sources that a worker would take them from.

    Raises what reading raises: StoreUnavailable, RelationCacheUnavailable, RequestFailed.
    """
    text = reader.hierarchy(course_id)
    if text is None:
        return CourseDrift(course_id, State.NO_HIERARCHY, trouble="the table of hierarchies has none of this course")
    try:
        hierarchy = read_hierarchy(course_id, text)
    except UnreadableHierarchy as error:
        return CourseDrift(course_id, State.UNREADABLE, trouble=f"its hierarchy can't be read: {error}")
    source = _taken_from(course_id, sources)
    differences = drift(hierarchy, _found(hierarchy, source))
    return CourseDrift(
        course_id,
        State.DRIFT if differences else State.IN_ORDER,
        source.name,
        len(hierarchy.units),
        len(hierarchy.sets.ancestors),
        differences,
    )


def _taken_from(course_id: str, sources: Sequence[RelationSource]) -> RelationSource:
    """Give the first source that holds the course's leaf nodes, or the first of all where none does.

    One that is away is passed over, as by a worker, unless no other holds them.
    """
    away: OutageError | None = None
    for source in sources:
        try:
            if _checked(source.sets([SetName(course_id, course_id, LEAF_NODES)])).sets:
                return source
        except OutageError as error:
            away = away or error
    if away is not None:
        raise away
    return sources[0]


def _found(hierarchy: Hierarchy, source: RelationSource) -> CourseRelations:
    """Read the sets that the hierarchy asks for, and follow them to what it does not know."""
    found = _checked(source.sets(expected_names(hierarchy)))
    for _ in range(_MOST_STEPS):
        known = found.by_course([hierarchy.course_id])[hierarchy.course_id]
        further = [name for name in further_names(hierarchy, known) if name not in found.asked]
        if not further:
            break
        more = _checked(source.sets(further))
        found.asked |= more.asked
        found.sets |= more.sets
    return found.by_course([hierarchy.course_id])[hierarchy.course_id]


def _checked(found: FoundSets) -> FoundSets:
    """Raise what kept a course from being asked about."""
    error: ReconciliationError | None = next(iter(found.errors.values()), None)
    if error is not None:
        raise error
    return found
