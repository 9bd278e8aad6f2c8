"""Looks at Cassandra: nodes, tables as the driver's schema metadata tells them, clock and reads. It writes nothing."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cassandra.cluster import Cluster, NoHostAvailable, Session
from cassandra.metadata import KeyspaceMetadata, NetworkTopologyStrategy, SimpleStrategy, TableMetadata

from commands.checking.cassandra_seen import CassandraSeen, KeyspaceSeen, NodeSeen, TableSeen
from commands.checking.findings import brief, words_of
from reconciliation.enrolment_store import PROBE_USERS
from reconciliation.from_settings import relations_table, store_config
from reconciliation.settings import Settings
from reconciliation.settings_relations import CASSANDRA
from reconciliation.statements import SERVER_CLOCK, OtherTable, StatementTexts, Tables, relation_set_text
from reconciliation.store_connection import Opening, StoreConfig, clock_difference, worker_texts


def look_at_cassandra(settings: Settings, limit: float) -> CassandraSeen:
    """Connect as a worker does and look; each question may take `limit` seconds, or lms-cassandra.timeout if less.

    Where a data centre is set that no node is in, it looks on without it, so that the right name can be told.
    """
    config = replace(store_config(settings), timeout=min(limit, settings.cassandra_timeout))
    relations = relations_table(settings) if CASSANDRA in settings.relation_sources else None
    seen = _look(config, relations)
    if seen.trouble and config.local_datacenter is not None:
        elsewhere = _look(replace(config, local_datacenter=None), relations)
        if not elsewhere.trouble:
            return replace(elsewhere, is_datacenter_missing=True)
    return seen


def _look(config: StoreConfig, relations: OtherTable | None) -> CassandraSeen:
    try:
        opening = Opening(config)
    except Exception as error:  # noqa: BLE001 - whatever keeps the driver from connecting is what is to be told
        return CassandraSeen(trouble=words_of(error))
    try:
        try:
            session = opening.connect()
        except Exception as error:  # noqa: BLE001 - as above
            return CassandraSeen(trouble=_reason(error))
        return _answers(opening.cluster, session, config, relations)
    finally:
        opening.cluster.shutdown()


def _reason(error: Exception) -> str:
    """Give the reason of each address alone: the driver wraps them in its own representation."""
    if isinstance(error, NoHostAvailable) and isinstance(error.errors, dict) and error.errors:
        return "; ".join(f"{address}: {words_of(cause)}" for address, cause in list(error.errors.items())[:3])
    return words_of(error)


def _answers(cluster: Cluster, session: Session, config: StoreConfig, relations: OtherTable | None) -> CassandraSeen:
    tables = Tables(
        config.keyspace,
        config.content_consumption_table,
        config.user_enrolments_table,
        config.user_activity_agg_table,
    )
    nodes = tuple(
        NodeSeen(str(host.address), host.datacenter or "", host.is_up is not False)
        for host in cluster.metadata.all_hosts()
    )
    asked = cluster.get_control_connection_host()
    # an unquoted name is folded to lower case by Cassandra
    keyspace = cluster.metadata.keyspaces.get(config.keyspace.lower())
    of_relations = None if relations is None else cluster.metadata.keyspaces.get(relations.keyspace.lower())
    texts = worker_texts(config, tables)
    return CassandraSeen(
        nodes=nodes,
        # where none is set, the driver takes that of the first node that answers, and a worker with it
        datacenter=config.local_datacenter or (asked.datacenter if asked is not None else "") or "",
        keyspace=None if keyspace is None else _keyspace(keyspace),
        clock=_clock(session),
        refused="" if keyspace is None else _read(session, texts),
        relations=None if of_relations is None else _keyspace(of_relations),
        relations_refused="" if relations is None or of_relations is None else _read_relations(session, relations),
    )


def _keyspace(keyspace: KeyspaceMetadata) -> KeyspaceSeen:
    strategy = keyspace.replication_strategy
    copies: dict[str, int] | int | str
    if isinstance(strategy, NetworkTopologyStrategy):
        copies = {name: int(info.all_replicas) for name, info in strategy.dc_replication_factors_info.items()}
    elif isinstance(strategy, SimpleStrategy):
        copies = int(strategy.replication_factor_info.all_replicas)
    else:
        copies = type(strategy).__name__
    return KeyspaceSeen(copies, {name: _table(table) for name, table in keyspace.tables.items()})


def _table(table: TableMetadata) -> TableSeen:
    return TableSeen(
        partition_key=tuple(column.name for column in table.partition_key),
        clustering_key=tuple(column.name for column in table.clustering_key),
        columns={name: str(column.cql_type) for name, column in table.columns.items()},
    )


def _clock(session: Session) -> float | str:
    def server_clock_ms() -> int:
        row: Any = session.execute(SERVER_CLOCK).one()
        return int(row[0])

    try:
        return clock_difference(server_clock_ms)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        return brief(words_of(error))


def _read(session: Session, texts: StatementTexts) -> str:
    """Read as a worker does, of learners that are not there; see `_ask`."""
    learners = [(user, user, user) for user in PROBE_USERS]
    return _ask(session, texts.read_consumption, learners) or _ask(session, texts.read_enrolment, learners)


def _read_relations(session: Session, table: OtherTable) -> str:
    """Read relation sets as a worker does, of courses that are not there; see `_ask`."""
    return _ask(session, relation_set_text(table), [(f"{name}:{name}:leafnodes",) for name in PROBE_USERS])


def _ask(session: Session, text: str, questions: Sequence[tuple[str, ...]]) -> str:
    """Read at several places of the ring; gives why one of the reads failed, or ""."""
    try:
        statement = session.prepare(text)
        pending = [session.execute_async(statement, values) for values in questions]
        for future in pending:
            future.result()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        return brief(words_of(error))
    return ""
