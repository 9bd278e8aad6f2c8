"""Compares a course's relation sets with those that its hierarchy asks for (docs/relations.md, drift). Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from reconciliation.hierarchy import Hierarchy
from reconciliation.model import CourseRelations
from reconciliation.relation_sets import ANCESTORS, LEAF_NODES, OPTIONAL_NODES, SetName


class DriftKind(StrEnum):
    """How a set differs from what it should be."""

    MISSING_SET = "missing set"
    LEAF_NODES_MISSING = "leaf nodes missing"
    LEAF_NODES_EXTRA = "leaf nodes extra"
    OPTIONAL_NODES_MISSING = "optional nodes missing"
    OPTIONAL_NODES_STALE = "optional nodes stale"
    UNIT_STALE = "stale unit"
    ANCESTORS_MISSING = "ancestors missing"
    ANCESTORS_EXTRA = "ancestors extra"


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference: of this set these ids, sorted.

    `is_remade` says that the job that makes relation sets writes this set anew when it is asked; it removes none.
    """

    kind: DriftKind
    name: SetName
    ids: tuple[str, ...]
    is_remade: bool


_DIFFERENCES = {
    LEAF_NODES: (DriftKind.LEAF_NODES_MISSING, DriftKind.LEAF_NODES_EXTRA),
    OPTIONAL_NODES: (DriftKind.OPTIONAL_NODES_MISSING, DriftKind.OPTIONAL_NODES_STALE),
    ANCESTORS: (DriftKind.ANCESTORS_MISSING, DriftKind.ANCESTORS_EXTRA),
}


def expected_names(hierarchy: Hierarchy) -> list[SetName]:
    """Name every set that is looked at first: those that should be there, and those of its nodes that should not."""
    course_id = hierarchy.course_id
    nodes = [course_id, *sorted(hierarchy.units)]
    return [
        *(SetName(course_id, node_id, relation) for node_id in nodes for relation in (LEAF_NODES, OPTIONAL_NODES)),
        *(SetName(course_id, content_id, ANCESTORS) for content_id in hierarchy.sets.ancestors),
    ]


def further_names(hierarchy: Hierarchy, found: CourseRelations) -> list[SetName]:
    """Name what the sets that were found lead to beyond the hierarchy: contents that it lacks, and units.

    Ask for them and call it again: a content that was found so may lead to another unit.
    """
    course_id = hierarchy.course_id
    contents = set[str]().union(*found.leaf_nodes.values()) - hierarchy.sets.ancestors.keys() - found.ancestors.keys()
    units = set[str]().union(*found.ancestors.values()) - hierarchy.units - {course_id} - found.leaf_nodes.keys()
    return [
        *(SetName(course_id, content_id, ANCESTORS) for content_id in sorted(contents)),
        *(SetName(course_id, unit, relation) for unit in sorted(units) for relation in (LEAF_NODES, OPTIONAL_NODES)),
    ]


def drift(hierarchy: Hierarchy, found: CourseRelations) -> tuple[Drift, ...]:
    """Name every difference between the sets that a hierarchy asks for and those that were found, in a fixed order."""
    nodes = {hierarchy.course_id, *hierarchy.units}
    expected = hierarchy.sets
    differences: list[Drift] = []
    for relation, wanted, there in (
        (LEAF_NODES, expected.leaf_nodes, found.leaf_nodes),
        (OPTIONAL_NODES, expected.optional_nodes, found.optional_nodes),
        (ANCESTORS, expected.ancestors, found.ancestors),
    ):
        for node_id in sorted(wanted.keys() | there.keys()):
            name = SetName(hierarchy.course_id, node_id, relation)
            if relation != ANCESTORS and node_id not in nodes:
                differences.append(Drift(DriftKind.UNIT_STALE, name, tuple(sorted(there[node_id])), is_remade=False))
            else:
                differences += _differences(name, wanted, there)
    return tuple(differences)


def _differences(
    name: SetName, wanted: Mapping[str, frozenset[str]], there: Mapping[str, frozenset[str]]
) -> Iterator[Drift]:
    should_be, is_there = wanted.get(name.node_id, frozenset()), there.get(name.node_id, frozenset())
    # the job writes the sets that a hierarchy asks for, and leaves all others as they are
    is_remade = bool(should_be)
    if not is_there:
        yield Drift(DriftKind.MISSING_SET, name, tuple(sorted(should_be)), is_remade)
        return
    missing, extra = _DIFFERENCES[name.relation]
    if should_be - is_there:
        yield Drift(missing, name, tuple(sorted(should_be - is_there)), is_remade)
    if is_there - should_be:
        yield Drift(extra, name, tuple(sorted(is_there - should_be)), is_remade)
