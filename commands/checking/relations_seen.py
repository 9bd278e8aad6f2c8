"""What was seen of the relation sets' table in Cassandra (docs/relations.md). Pure."""

from commands.checking.cassandra_seen import (
    SERVER,
    CassandraSeen,
    Expected,
    judge_reads,
    judge_replication,
    judge_table,
)
from commands.checking.findings import Finding, State, named, not_looked_at
from reconciliation.settings import Settings
from reconciliation.settings_relations import CASSANDRA

RELATION_SETS = Expected(
    "lms-cassandra.hierarchy_relations.table",
    ((("relationship_key",), ()),),
    {"relationship_key": "text", "node_ids": "list<text>"},
)
_KEYSPACE = "keyspace of relation sets"
_REPLICATION = "replication of relation sets"
_READS = "reads of relation sets"


def judge_relation_table(settings: Settings, seen: CassandraSeen) -> list[Finding]:
    """Say what was found of the table, a row a check; nothing where relations.sources does not name Cassandra."""
    if CASSANDRA not in settings.relation_sources:
        return []
    table = settings.hierarchy_relations_table
    rest = [_REPLICATION, f"table {table}", _READS]
    if seen.trouble:
        return not_looked_at(SERVER, [_KEYSPACE, *rest], "Cassandra does not answer")
    keyspace = settings.hierarchy_relations_keyspace or ""
    if seen.relations is None:
        step = f"create it, or correct {named('lms-cassandra.hierarchy_relations.keyspace')}"
        missing = Finding(SERVER, _KEYSPACE, State.WRONG, f"{keyspace} does not exist", step)
        return [missing, *not_looked_at(SERVER, rest, "there is no such keyspace")]
    of_table = judge_table(table, seen.relations.tables.get(table.lower()), RELATION_SETS)
    are_right = all(finding.state is State.OK for finding in of_table)
    return [
        Finding(SERVER, _KEYSPACE, State.OK, keyspace),
        judge_replication(seen.relations.copies, seen, _REPLICATION),
        *of_table,
        judge_reads(seen.relations_refused, are_tables_right=are_right, what=_READS, whose="a course that"),
    ]
