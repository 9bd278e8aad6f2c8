"""The relation sets as a table of a real Cassandra."""

import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from devstack.cassandra import session
from devstack.ports import HOST, Ports
from reconciliation.counters import Counters
from reconciliation.enrolment_store import StoreConfig
from reconciliation.errors import StoreUnavailable
from reconciliation.model import CourseRelations
from reconciliation.relation_sets import SetName
from reconciliation.relation_table import RelationTable
from reconciliation.statements import OtherTable
from tests.support.relations import CourseTree, HierarchyStore


def table_in(keyspace: str, table: str = "hierarchy_relations") -> OtherTable:
    return OtherTable(keyspace, table, "lms-cassandra.hierarchy_relations.keyspace", "the.table")


@pytest.fixture
def rows(ports: Ports, hierarchy_store: str) -> HierarchyStore:
    return HierarchyStore(HOST, ports.cassandra, hierarchy_store)


@pytest.fixture
def table(store_config: StoreConfig, hierarchy_store: str, counters: Counters) -> Iterator[RelationTable]:
    made = RelationTable(store_config, table_in(hierarchy_store), counters)
    yield made
    made.close()


@pytest.fixture
def course() -> str:
    return f"do_{uuid.uuid4().hex}"


def tree(course: str) -> CourseTree:
    return CourseTree(
        course,
        leaf_nodes={course: {"a", "b", "c"}, "unit1": {"a", "b"}, "unit2": {"b", "c"}},
        optional_nodes={course: {"c"}, "unit2": {"c"}},
        ancestors={"a": {course, "unit1"}, "b": {course, "unit1", "unit2"}, "c": {course, "unit2"}},
    )


def test_sets_of_the_course_its_contents_and_the_units_above_them(
    rows: HierarchyStore, table: RelationTable, course: str
) -> None:
    rows.fill(tree(course))
    found = table.look({course: {"a", "other"}})
    assert found.errors == {}
    assert found.by_course([course])[course] == CourseRelations(
        {course: frozenset("abc"), "unit1": frozenset("ab")},
        {course: frozenset("c")},
        {"a": frozenset({course, "unit1"})},
    )
    assert set(found.missing()) == {SetName(course, "other", "ancestors"), SetName(course, "unit1", "optionalnodes")}


def test_a_row_without_nodes_is_missing(
    rows: HierarchyStore, table: RelationTable, course: str, ports: Ports, hierarchy_store: str
) -> None:
    key = f"{course}:{course}:leafnodes"
    with session(HOST, ports.cassandra) as connected:
        connected.execute(
            f"INSERT INTO {hierarchy_store}.hierarchy_relations (relationship_key, node_ids) VALUES (%s, null)",  # noqa: S608 - the test's own name
            (key,),
        )
    assert table.look({course: ()}).sets == {}
    rows.fill_sets({key: {"a"}})
    assert table.look({course: ()}).sets == {SetName(course, course, "leafnodes"): frozenset("a")}


def test_more_sets_than_are_on_their_way_at_once(
    rows: HierarchyStore, table: RelationTable, course: str, counters: Counters
) -> None:
    contents = {f"content{number}" for number in range(600)}
    rows.fill(CourseTree(course, {course: contents}, {}, {content: {course} for content in contents}))
    found = table.look({course: contents})
    assert len(found.sets) == 601
    assert found.missing() == [SetName(course, course, "optionalnodes")]
    assert counters.read()["db_read_count"] == 602


def test_names_that_no_row_can_have_spoil_nobody_s_read(
    rows: HierarchyStore, table: RelationTable, course: str
) -> None:
    rows.fill(tree(course))
    contents = {"a", "\ud800", "x" * 70_000, "'; DROP TABLE x; --", ""}
    found = table.look({course: contents, "": ("",)})
    assert found.errors == {}
    assert found.by_course([course])[course].ancestors == {"a": frozenset({course, "unit1"})}


def test_a_keyspace_or_table_that_is_missing_is_waited_for(
    store_config: StoreConfig, hierarchy_store: str, counters: Counters
) -> None:
    for where, told in (
        (table_in("nowhere"), r"hierarchy_relations\.keyspace is 'nowhere': Cassandra has no such keyspace"),
        (table_in(hierarchy_store, "nothing"), r"the\.table is 'nothing': Cassandra can't use this table"),
    ):
        table = RelationTable(store_config, where, counters)
        try:
            with pytest.raises(StoreUnavailable, match=told):
                table.look({"do_1": ()})
            with pytest.raises(StoreUnavailable, match=told):
                table.probe()
        finally:
            table.close()


def test_a_cassandra_that_is_away_is_an_outage(
    store_config: StoreConfig, hierarchy_store: str, counters: Counters, closed_port: int
) -> None:
    table = RelationTable(replace(store_config, port=closed_port), table_in(hierarchy_store), counters)
    with pytest.raises(StoreUnavailable):
        table.look({"do_1": ()})
    with pytest.raises(StoreUnavailable):
        table.probe()
    table.close()


def test_a_table_that_goes_is_each_course_s_error_and_the_probe_s(
    store_config: StoreConfig, ports: Ports, counters: Counters, hierarchy_store: str
) -> None:
    name = f"gone_{uuid.uuid4().hex[:8]}"
    with session(HOST, ports.cassandra) as connected:
        connected.execute(
            f"CREATE TABLE {hierarchy_store}.{name} (relationship_key text PRIMARY KEY, node_ids list<text>)"
        )
        table = RelationTable(store_config, table_in(hierarchy_store, name), counters)
        try:
            table.probe()
            assert table.look({"do_1": (), "do_2": ()}).errors == {}
            connected.execute(f"DROP TABLE {hierarchy_store}.{name}")
            assert set(table.look({"do_1": (), "do_2": ()}).errors) == {"do_1", "do_2"}
            with pytest.raises(StoreUnavailable):
                table.probe()
        finally:
            table.close()
