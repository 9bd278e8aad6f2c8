"""The names of relation sets, what was found of them, and where they may come from (docs/relations.md)."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from reconciliation.counters import Counters
from reconciliation.errors import ReconciliationError, Server
from reconciliation.model import CourseRelations

LEAF_NODES = "leafnodes"
OPTIONAL_NODES = "optionalnodes"
ANCESTORS = "ancestors"


class SetName(NamedTuple):
    """Names one set; every source keeps it under the same key."""

    course_id: str
    node_id: str
    relation: str

    def __str__(self) -> str:
        return f"{self.course_id}:{self.node_id}:{self.relation}"


@dataclass(slots=True)
class FoundSets:
    """What one source has been asked for so far, the sets that were there, and the courses that it could not answer."""

    asked: set[SetName] = field(default_factory=set)
    sets: dict[SetName, frozenset[str]] = field(default_factory=dict)
    errors: dict[str, ReconciliationError] = field(default_factory=dict)

    def missing(self, relation: str | None = None) -> list[SetName]:
        """List what was asked for and not there."""
        return [
            name for name in self.asked if name not in self.sets and (relation is None or name.relation == relation)
        ]

    def units(self) -> set[tuple[str, str]]:
        """List the units that ancestors name, each with its course first."""
        return {
            (name.course_id, unit_id)
            for name, members in self.sets.items()
            if name.relation == ANCESTORS
            for unit_id in members
            if unit_id != name.course_id
        }

    def count(self, counters: Counters, course_ids: Collection[str]) -> None:
        """Count the sets of these courses as found and as not found."""
        asked = sum(name.course_id in course_ids for name in self.asked)
        there = sum(name.course_id in course_ids for name in self.sets)
        counters.cache_hits.inc(there)
        counters.cache_misses.inc(asked - there)

    def by_course(self, course_ids: Iterable[str]) -> dict[str, CourseRelations]:
        """Give the sets of each of these courses."""
        relations: dict[str, dict[str, dict[str, frozenset[str]]]] = {
            course_id: {LEAF_NODES: {}, OPTIONAL_NODES: {}, ANCESTORS: {}} for course_id in course_ids
        }
        for name, members in self.sets.items():
            if name.course_id in relations:
                relations[name.course_id][name.relation][name.node_id] = members
        return {
            course_id: CourseRelations(sets[LEAF_NODES], sets[OPTIONAL_NODES], sets[ANCESTORS])
            for course_id, sets in relations.items()
        }


def first_names(wanted: Mapping[str, Collection[str]]) -> list[SetName]:
    """Name what is asked first: each course's own sets, and the ancestors of these of its contents."""
    names = []
    for course_id, content_ids in wanted.items():
        names += [SetName(course_id, course_id, LEAF_NODES), SetName(course_id, course_id, OPTIONAL_NODES)]
        names += [SetName(course_id, content_id, ANCESTORS) for content_id in content_ids]
    return names


def unit_names(units: Iterable[tuple[str, str]]) -> list[SetName]:
    """Name the sets of these units, each given with its course first."""
    return [SetName(*unit, relation) for unit in units for relation in (LEAF_NODES, OPTIONAL_NODES)]


class Relations(Protocol):
    """Reads the relation sets of courses, wherever they come from. Safe for use by several threads."""

    def read(self, wanted: Mapping[str, Collection[str]]) -> Mapping[str, CourseRelations | ReconciliationError]:
        """Return the relations of each course in `wanted`, which maps a course's id to ids of its contents.

        In their place stands why a course could not be asked about. Raises an OutageError where that holds for all.
        """

    def probes(self) -> Mapping[Server, Callable[[], None]]:
        """Give for each server that is asked a call that raises while it is away."""

    def close(self) -> None:
        """Close all connections."""


class RelationSource(Protocol):
    """One place that holds relation sets. Safe for use by several threads."""

    @property
    def name(self) -> str:
        """What relations.sources calls it."""

    @property
    def server(self) -> Server:
        """Whose absence makes its errors an outage."""

    def look(self, wanted: Mapping[str, Collection[str]]) -> FoundSets:
        """Ask for the sets of these courses and contents, and of the units above them; raises an OutageError."""

    def sets(self, names: Collection[SetName]) -> FoundSets:
        """Ask for these sets alone; raises an OutageError."""

    def probe(self) -> None:
        """Raise an OutageError while it is away."""

    def close(self) -> None:
        """Close all connections."""
