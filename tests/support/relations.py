"""The relation sets of a course, filled as the job or service that owns them fills them; and its hierarchy."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis

from devstack.cassandra import session


@dataclass(frozen=True, slots=True)
class CourseTree:
    """A course's relation sets: contents of each node, optional contents of each node, ancestors of each content."""

    course: str
    leaf_nodes: Mapping[str, Collection[str]] = field(default_factory=dict)
    optional_nodes: Mapping[str, Collection[str]] = field(default_factory=dict)
    ancestors: Mapping[str, Collection[str]] = field(default_factory=dict)

    @property
    def sets(self) -> dict[str, set[str]]:
        """Every set that is not empty, by its key in Redis."""
        kinds = {"leafnodes": self.leaf_nodes, "optionalnodes": self.optional_nodes, "ancestors": self.ancestors}
        return {
            f"{self.course}:{node}:{kind}": set(members)
            for kind, nodes in kinds.items()
            for node, members in nodes.items()
            if members
        }


def course_of_units(course: str, units: Mapping[str, Collection[str]]) -> CourseTree:
    """Describe a course whose contents all lie in these units, which lie side by side."""
    contents = {content for members in units.values() for content in members}
    return CourseTree(
        course,
        leaf_nodes={course: contents, **units},
        ancestors={
            content: {course, *(unit for unit, members in units.items() if content in members)} for content in contents
        },
    )


class RelationSets:
    """The relation cache: one database of a Redis."""

    def __init__(self, host: str, port: int, database: int, login: Mapping[str, Any] | None = None) -> None:
        self._redis = redis.Redis(host=host, port=port, db=database, socket_timeout=20, **(login or {}))

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def fill(self, *trees: CourseTree) -> None:
        """Write all sets of these courses, in place of what stood there under the same keys."""
        for tree in trees:
            self.fill_sets(tree.sets)

    def fill_sets(self, sets: Mapping[str, Collection[str]]) -> None:
        """Write these sets, given by their keys, in place of what stood there."""
        pipeline = self._redis.pipeline()
        _add(pipeline, sets)
        pipeline.execute()

    def replace_everything(self, *trees: CourseTree) -> None:
        """Empty every database of this Redis, and write the sets of these courses, in one step."""
        pipeline = self._redis.pipeline()
        pipeline.flushall()
        for tree in trees:
            _add(pipeline, tree.sets)
        pipeline.execute()

    def remove(self, course: str, node: str, relation: str) -> None:
        """Remove one set."""
        assert self._redis.delete(f"{course}:{node}:{relation}") == 1


class HierarchyStore:
    """The content service's keyspace: relation sets as a table, and hierarchies."""

    def __init__(self, host: str, port: int, keyspace: str) -> None:
        self._host = host
        self._port = port
        self._keyspace = keyspace

    def fill(self, *trees: CourseTree) -> None:
        """Write all sets of these courses, in place of what stood there under the same keys."""
        for tree in trees:
            self.fill_sets(tree.sets)

    def fill_sets(self, sets: Mapping[str, Collection[str]]) -> None:
        """Write these sets, given by their keys, in place of what stood there."""
        self._write(
            "INSERT INTO {}.hierarchy_relations (relationship_key, node_ids) VALUES (%s, %s)",
            [(key, sorted(members)) for key, members in sets.items()],
        )

    def remove(self, *keys: str) -> None:
        """Remove these sets."""
        self._write("DELETE FROM {}.hierarchy_relations WHERE relationship_key = %s", [(key,) for key in keys])

    def publish(self, course: str, hierarchy: str | None) -> None:
        """Write a course's hierarchy, a JSON text."""
        self._write("INSERT INTO {}.content_hierarchy (identifier, hierarchy) VALUES (%s, %s)", [(course, hierarchy)])

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        with session(self._host, self._port) as connected:
            for row in rows:
                connected.execute(statement.format(self._keyspace), row)


def _add(pipeline: Any, sets: Mapping[str, Collection[str]]) -> None:
    for key, members in sets.items():
        pipeline.delete(key)
        pipeline.sadd(key, *members)
