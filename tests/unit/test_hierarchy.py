"""What sets a hierarchy asks for, and how found ones are held against them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciliation import hierarchy as module
from reconciliation.drift import Drift, DriftKind, drift, expected_names, further_names
from reconciliation.hierarchy import MOST_LEVELS, MOST_NODES, UnreadableHierarchy, read_hierarchy
from reconciliation.model import CourseRelations
from reconciliation.relation_sets import SetName

COLLECTION = "application/vnd.ekstep.content-collection"
QUESTION_SET = "application/vnd.sunbird.questionset"
Node = dict[str, Any]


def unit(name: str, *children: Node, **more: object) -> Node:
    return {"identifier": name, "mimeType": COLLECTION, "children": list(children), **more}


def content(name: str, mime_type: str = "video/mp4", **more: object) -> Node:
    return {"identifier": name, "mimeType": mime_type, **more}


OPTIONAL = {"relationalMetadata": {"optional": True}}


def read(root: Node, course: str = "do_course") -> CourseRelations:
    return read_hierarchy(course, json.dumps(root)).sets


def sets(**nodes: str) -> dict[str, frozenset[str]]:
    return {name: frozenset(members.split()) for name, members in nodes.items()}


def test_a_course_of_nested_units_with_a_shared_and_an_optional_content() -> None:
    root = unit(
        "do_course",
        unit("unit1", content("a"), content("b", **OPTIONAL)),
        unit("unit2", unit("inner", content("b"), content("quiz", QUESTION_SET, children=[content("question")]))),
        content("top"),
        unit("empty"),
    )
    found = read_hierarchy("do_course", json.dumps(root))
    assert found.units == {"unit1", "unit2", "inner", "empty"}
    assert found.sets.leaf_nodes == sets(do_course="a b quiz top", unit1="a b", unit2="b quiz", inner="b quiz")
    assert found.sets.optional_nodes == sets(do_course="b", unit1="b")
    assert found.sets.ancestors == sets(
        a="do_course unit1", b="do_course unit1 unit2 inner", quiz="do_course unit2 inner", top="do_course"
    )


def test_leaf_nodes_that_a_unit_lists_count_before_those_below_it() -> None:
    root = unit("do_course", unit("unit1", content("a"), leafNodes=["a", "old"]), leafNodes=["a"])
    assert read(root).leaf_nodes == sets(do_course="a", unit1="a old")


@pytest.mark.parametrize("flag", [True, "true", "TRUE"])
def test_ways_to_say_optional(flag: object) -> None:
    root = unit("do_course", content("a", relationalMetadata={"optional": flag}), content("b"))
    assert read(root).optional_nodes == sets(do_course="a")


@pytest.mark.parametrize("metadata", [None, {}, {"optional": False}, {"optional": "no"}, {"optional": None}, "x", [1]])
def test_ways_to_say_nothing_of_it(metadata: object) -> None:
    assert read(unit("do_course", content("a", relationalMetadata=metadata))).optional_nodes == {}


def test_a_unit_that_is_optional_as_a_whole_is_named_itself() -> None:
    root = unit("do_course", unit("unit1", content("a", **OPTIONAL), **OPTIONAL), content("b"))
    assert read(root).optional_nodes == sets(do_course="unit1", unit1="a")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[]", "no JSON object"),
        ("null", "no JSON object"),
        ('{"identifier": "do_other"}', "that of 'do_other'"),
        ('{"identifier": 7}', "that of 7"),
        ("{}", "no collection: its mimeType is None"),
        (json.dumps(content("do_course")), "no collection: its mimeType is 'video/mp4'"),
        (json.dumps({"mimeType": ["x"]}), "no collection"),
        (json.dumps({"mimeType": COLLECTION, "children": "x"}), "children of the root are no list"),
        (json.dumps({"mimeType": COLLECTION, "children": ["x"]}), "children of the root are no list"),
        (json.dumps(unit("do_course", {"mimeType": COLLECTION})), "a child of the root has no identifier"),
        (json.dumps(unit("do_course", unit("u", {"identifier": " "}))), "a child of u has no identifier"),
        (json.dumps(unit("do_course", unit("u", leafNodes="a"))), "leafNodes of u are no list of texts"),
        (json.dumps(unit("do_course", leafNodes=[1])), "leafNodes of do_course are no list of texts"),
        ('{"children": ' * 50_000 + "1" + "}" * 50_000, "deeper than can be read|no JSON"),
    ],
)
def test_what_is_no_hierarchy_is_told(text: str, told: str) -> None:
    with pytest.raises(UnreadableHierarchy, match=told):
        read_hierarchy("do_course", text)


def deep(levels: int) -> Node:
    node: Node = content("a")
    for level in range(levels):
        node = unit(f"u{level}", node)
    return {**node, "identifier": "do_course"}


def test_depth_width_and_length_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(read(deep(MOST_LEVELS)).leaf_nodes) == MOST_LEVELS
    with pytest.raises(UnreadableHierarchy, match="deeper than 100 levels"):
        read(deep(MOST_LEVELS + 1))
    wide = [content(f"a{number}") for number in range(MOST_NODES)]
    assert len(read(unit("do_course", *wide)).ancestors) == MOST_NODES
    # also where it hangs below a content, which nobody asks about
    for hidden in (unit("do_course", *wide, content("one more")), unit("do_course", content("q", children=wide))):
        with pytest.raises(UnreadableHierarchy, match="more than 20000 nodes"):
            read(hidden)
    monkeypatch.setattr(module, "LONGEST_TEXT", 10)
    with pytest.raises(UnreadableHierarchy, match="characters, more than 10"):
        read(unit("do_course"))


# ids are few, so that units and contents come at several places
_NAMES = [f"n{number}" for number in range(6)]
_CONTENTS = st.builds(
    lambda name, optional: content(f"c-{name}", **(OPTIONAL if optional else {})),
    st.sampled_from(_NAMES),
    st.booleans(),
)


def _units(children: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    return st.builds(
        lambda number, below, optional: unit(f"u-{number}", *below, **(OPTIONAL if optional else {})),
        st.integers(0, 10**9),
        st.lists(children, max_size=4),
        st.booleans(),
    )


COURSES = st.lists(st.recursive(_CONTENTS, _units, max_leaves=25), max_size=5).map(
    lambda children: unit("do_course", *children)
)


def leaves(node: Node) -> set[str]:
    if node["mimeType"] != COLLECTION:
        return {node["identifier"]}
    return set[str]().union(*(leaves(child) for child in node["children"]))


def optionals(node: Node) -> set[str]:
    own = {child["identifier"] for child in node.get("children", []) if "relationalMetadata" in child}
    rest = [optionals(child) for child in node.get("children", []) if "relationalMetadata" not in child]
    return own.union(*rest)


def collections(node: Node) -> list[Node]:
    if node["mimeType"] != COLLECTION:
        return []
    return [node, *(it for child in node["children"] for it in collections(child))]


@given(COURSES)
def test_sets_are_those_that_a_plain_reading_gives(root: Node) -> None:
    found = read(root)
    nodes = {node["identifier"]: node for node in collections(root)}
    if len(nodes) < len(collections(root)):
        return  # a unit drawn twice: the last one counts, which the examples show
    assert found.leaf_nodes == {name: leaves(node) for name, node in nodes.items() if leaves(node)}
    assert found.optional_nodes == {name: optionals(node) for name, node in nodes.items() if optionals(node)}
    assert found.ancestors == {
        leaf: {name for name, node in nodes.items() if leaf in leaves(node)} for leaf in leaves(root)
    }


@given(COURSES)
def test_the_sets_that_it_asks_for_do_not_drift(root: Node) -> None:
    hierarchy = read_hierarchy("do_course", json.dumps(root))
    assert drift(hierarchy, hierarchy.sets) == ()
    assert further_names(hierarchy, hierarchy.sets) == []
    named = {(name.node_id, name.relation) for name in expected_names(hierarchy)}
    assert {(node, "leafnodes") for node in hierarchy.sets.leaf_nodes} <= named
    assert {(node, "optionalnodes") for node in hierarchy.sets.optional_nodes} <= named
    assert {(node, "ancestors") for node in hierarchy.sets.ancestors} <= named


FIELDS = {"leafnodes": "leaf_nodes", "optionalnodes": "optional_nodes", "ancestors": "ancestors"}


def changed(found: CourseRelations, relation: str, node: str, members: frozenset[str]) -> CourseRelations:
    before: Mapping[str, frozenset[str]] = getattr(found, FIELDS[relation])
    after = {name: them for name, them in {**before, node: members}.items() if them}
    return replace(found, **{FIELDS[relation]: after})


@given(COURSES, st.sampled_from(sorted(FIELDS)), st.data())
def test_any_change_of_one_set_is_named_and_nothing_else(root: Node, relation: str, data: st.DataObject) -> None:
    hierarchy = read_hierarchy("do_course", json.dumps(root))
    nodes = sorted(hierarchy.sets.ancestors) if relation == "ancestors" else ["do_course", *sorted(hierarchy.units)]
    if not nodes:
        return
    node = data.draw(st.sampled_from(nodes))
    right = getattr(hierarchy.sets, FIELDS[relation]).get(node, frozenset())
    wrong = frozenset(data.draw(st.sets(st.sampled_from([*sorted(right), "x", "y"]))))
    found = drift(hierarchy, changed(hierarchy.sets, relation, node, wrong))
    assert {it.name for it in found} <= {SetName("do_course", node, relation)}
    assert all(it.is_remade == bool(right) for it in found)
    told = {it.kind.value.rpartition(" ")[2]: set(it.ids) for it in found}
    if right and not wrong:
        assert told == {"set": right}
    else:
        assert told.get("missing", set()) == right - wrong
        assert (told.get("extra") or told.get("stale") or set()) == wrong - right


def test_a_unit_that_is_gone_is_found_by_what_still_names_it() -> None:
    hierarchy = read_hierarchy("do_course", json.dumps(unit("do_course", unit("unit1", content("a")))))
    found = replace(
        hierarchy.sets,
        leaf_nodes={**hierarchy.sets.leaf_nodes, "do_course": frozenset({"a", "gone"})},
    )
    assert further_names(hierarchy, found) == [SetName("do_course", "gone", "ancestors")]
    found = replace(found, ancestors={**found.ancestors, "gone": frozenset({"do_course", "old"})})
    assert further_names(hierarchy, found) == [
        SetName("do_course", "old", "leafnodes"),
        SetName("do_course", "old", "optionalnodes"),
    ]
    found = replace(found, leaf_nodes={**found.leaf_nodes, "old": frozenset({"gone"})})
    assert further_names(hierarchy, found) == []
    assert drift(hierarchy, found) == (
        Drift(DriftKind.LEAF_NODES_EXTRA, SetName("do_course", "do_course", "leafnodes"), ("gone",), is_remade=True),
        Drift(DriftKind.UNIT_STALE, SetName("do_course", "old", "leafnodes"), ("gone",), is_remade=False),
        Drift(
            DriftKind.ANCESTORS_EXTRA, SetName("do_course", "gone", "ancestors"), ("do_course", "old"), is_remade=False
        ),
    )
