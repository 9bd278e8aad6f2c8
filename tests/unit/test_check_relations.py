"""What `check` says of the relation sets' table, from what was seen of it."""

from dataclasses import replace

import pytest

from commands.checking.cassandra_seen import CassandraSeen, KeyspaceSeen, NodeSeen, TableSeen
from commands.checking.findings import State
from commands.checking.kafka_seen import named_topics
from commands.checking.relations_seen import judge_relation_table
from reconciliation.settings import load_settings

SETTINGS = load_settings({"RELATIONS_SOURCES": "redis,cassandra"})
COLUMNS = {"relationship_key": "text", "node_ids": "list<text>"}
TABLE = TableSeen(("relationship_key",), (), COLUMNS)
KEYSPACE = KeyspaceSeen({"dc1": 1}, {"hierarchy_relations": TABLE})
SEEN = CassandraSeen(nodes=(NodeSeen("10.0.0.1", "dc1", is_up=True),), datacenter="dc1", relations=KEYSPACE)
ALL = [
    "keyspace of relation sets",
    "replication of relation sets",
    "table hierarchy_relations",
    "reads of relation sets",
]


def states(seen: CassandraSeen) -> dict[str, State]:
    return {it.what: it.state for it in judge_relation_table(SETTINGS, seen)}


def test_a_table_that_is_well() -> None:
    assert states(SEEN) == dict.fromkeys(ALL, State.OK)


def test_nothing_is_told_where_the_table_is_no_source() -> None:
    assert judge_relation_table(load_settings({}), SEEN) == []


@pytest.mark.parametrize(
    ("table", "wrong"),
    [
        (TableSeen(("course",), ("relationship_key",), COLUMNS), "table hierarchy_relations"),
        (
            TableSeen(("relationship_key",), (), {**COLUMNS, "node_ids": "set<text>"}),
            "column hierarchy_relations.node_ids",
        ),
        (None, "table hierarchy_relations"),
    ],
)
def test_a_table_of_another_shape(table: TableSeen | None, wrong: str) -> None:
    tables = {} if table is None else {"hierarchy_relations": table}
    seen = replace(SEEN, relations=KeyspaceSeen({"dc1": 1}, tables), relations_refused="no such column")
    found = {it.what: it for it in judge_relation_table(SETTINGS, seen)}
    assert found[wrong].state is State.WRONG
    assert "lms-cassandra.hierarchy_relations.table" in found[wrong].next_step
    assert found["reads of relation sets"].state is State.NOT_LOOKED_AT


def test_a_keyspace_that_is_missing_or_has_no_copies_here() -> None:
    missing = judge_relation_table(SETTINGS, replace(SEEN, relations=None))
    assert [it.state for it in missing] == [State.WRONG, *[State.NOT_LOOKED_AT] * 3]
    assert "lms-cassandra.hierarchy_relations.keyspace" in missing[0].next_step
    elsewhere = replace(SEEN, relations=replace(KEYSPACE, copies={"dc2": 3}))
    assert states(elsewhere)["replication of relation sets"] is State.WRONG


def test_refused_reads_and_a_cassandra_that_is_away() -> None:
    assert states(replace(SEEN, relations_refused="Unavailable"))["reads of relation sets"] is State.WRONG
    assert set(states(CassandraSeen(trouble="Connection refused")).values()) == {State.NOT_LOOKED_AT}


def test_healing_s_topic_is_looked_at_where_it_is_enabled() -> None:
    assert "relations.healing.topic" not in named_topics(SETTINGS)
    enabled = load_settings({"RELATIONS_HEALING_ENABLED": "true"})
    assert named_topics(enabled)["relations.healing.topic"] == "local.content.postpublish.request"
