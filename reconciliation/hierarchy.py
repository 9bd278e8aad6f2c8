"""What relation sets a course's hierarchy asks for: the rules of the job that makes them (docs/relations.md). Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reconciliation.events import COLLECTION_MIME_TYPE
from reconciliation.model import CourseRelations

#: Limits of what is read, so that a hostile text costs bounded time and memory: characters, nodes, levels.
LONGEST_TEXT = 32 * 2**20
MOST_NODES = 20_000
MOST_LEVELS = 100

_Node = Mapping[str, Any]


class UnreadableHierarchy(Exception):
    """Raised when a text can't be a course's hierarchy; says what is wrong and where."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A course as it was published: its units, and the sets that it asks for, none of them empty."""

    course_id: str
    units: frozenset[str]
    sets: CourseRelations


def read_hierarchy(course_id: str, text: str) -> Hierarchy:
    """Read a course's hierarchy, a JSON text. Raises UnreadableHierarchy."""
    root = _parsed(course_id, text)
    _check_bounds(root)
    if not _is_collection(root):
        raise UnreadableHierarchy(f"{course_id} is no collection: its mimeType is {root.get('mimeType')!r}")
    leaf_nodes: dict[str, frozenset[str]] = {}
    optional_nodes: dict[str, frozenset[str]] = {}
    ancestors: dict[str, set[str]] = {}
    for node, node_id, above in _walk(course_id, root):
        if _is_collection(node):
            # where a unit stands at several places, the last one counts, as for the job
            leaf_nodes[node_id] = frozenset(_leaf_nodes(node, node_id))
            optional_nodes[node_id] = frozenset(_optional_nodes(node, node_id))
        else:
            ancestors.setdefault(node_id, set()).update(above)
    sets = CourseRelations(
        {node_id: members for node_id, members in leaf_nodes.items() if members},
        {node_id: members for node_id, members in optional_nodes.items() if members},
        {node_id: frozenset(members) for node_id, members in ancestors.items()},
    )
    return Hierarchy(course_id, frozenset(leaf_nodes) - {course_id}, sets)


def _parsed(course_id: str, text: str) -> _Node:
    if len(text) > LONGEST_TEXT:
        raise UnreadableHierarchy(f"it has {len(text)} characters, more than {LONGEST_TEXT}")
    try:
        root = json.loads(text)
    except ValueError as error:
        raise UnreadableHierarchy(f"it is no JSON: {error}") from error
    except RecursionError:
        raise UnreadableHierarchy("it is nested deeper than can be read") from None
    if not isinstance(root, dict):
        raise UnreadableHierarchy("it is no JSON object")
    named = root.get("identifier", course_id)
    if named != course_id:
        raise UnreadableHierarchy(f"it is that of {named!r}")
    return root


def _check_bounds(root: _Node) -> None:
    """Walk through all there is once, so that no later walk can take long."""
    waiting: list[tuple[_Node, str, int]] = [(root, "the root", 1)]
    seen = 0
    while waiting:
        node, node_id, level = waiting.pop()
        children = _children(node, node_id)
        seen += len(children)
        if seen > MOST_NODES:
            raise UnreadableHierarchy(f"it has more than {MOST_NODES} nodes")
        if children and level > MOST_LEVELS:
            raise UnreadableHierarchy(f"it is nested deeper than {MOST_LEVELS} levels")
        waiting += [(child, _identifier(child, node_id), level + 1) for child in children]


def _walk(node_id: str, node: _Node) -> Iterator[tuple[_Node, str, tuple[str, ...]]]:
    """Give this node and all below it with their ids and the ids above them, in the order of the text.

    What a content holds, as a question set its questions, is none of the course's.
    """
    waiting: list[tuple[_Node, str, tuple[str, ...]]] = [(node, node_id, ())]
    while waiting:
        at, at_id, above = waiting.pop()
        yield at, at_id, above
        if _is_collection(at):
            below = (*above, at_id)
            waiting += [(child, _identifier(child, at_id), below) for child in reversed(_children(at, at_id))]


def _children(node: _Node, node_id: str) -> list[_Node]:
    children = node.get("children")
    if children is None:
        return []
    if not isinstance(children, list) or not all(isinstance(child, dict) for child in children):
        raise UnreadableHierarchy(f"the children of {node_id} are no list of objects")
    return children


def _identifier(node: _Node, parent_id: str) -> str:
    found = node.get("identifier")
    if not isinstance(found, str) or not found.strip():
        raise UnreadableHierarchy(f"a child of {parent_id} has no identifier")
    return found


def _leaf_nodes(node: _Node, node_id: str) -> Iterator[str]:
    """Give what the unit itself lists as its leaf nodes, or else the contents below it."""
    if "leafNodes" not in node:
        yield from (child_id for child, child_id, _ in _walk(node_id, node) if not _is_collection(child))
        return
    listed = node["leafNodes"]
    if not isinstance(listed, list) or not all(isinstance(it, str) for it in listed):
        raise UnreadableHierarchy(f"the leafNodes of {node_id} are no list of texts")
    yield from listed


def _optional_nodes(node: _Node, node_id: str) -> Iterator[str]:
    """Give the optional nodes below; of one that is optional as a whole, itself and nothing below it."""
    waiting = [(node, node_id)]
    while waiting:
        at, at_id = waiting.pop()
        for child in _children(at, at_id):
            child_id = _identifier(child, at_id)
            if _is_optional(child):
                yield child_id
            else:
                waiting.append((child, child_id))


def _is_collection(node: _Node) -> bool:
    mime_type = node.get("mimeType")
    return isinstance(mime_type, str) and mime_type.lower() == COLLECTION_MIME_TYPE


def _is_optional(node: _Node) -> bool:
    metadata = node.get("relationalMetadata")
    return isinstance(metadata, dict) and str(metadata.get("optional", "")).lower() == "true"
