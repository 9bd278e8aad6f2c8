"""Reads courses' hierarchies from the content service's table, for people who ask (docs/relations.md)."""

from cassandra.cluster import Session

from reconciliation.binding import Statement
from reconciliation.counters import Counters
from reconciliation.errors import ReconciliationError
from reconciliation.statements import OtherTable, Tables, course_hierarchy_text
from reconciliation.store_connection import StoreConfig, open_session, prepared_elsewhere
from reconciliation.store_reads import Reads


class HierarchyReader:
    """A connection to Cassandra that only reads.

    Making one raises StoreUnavailable when no host answers, SettingsError when keyspace, table or column isn't there.
    """

    def __init__(self, config: StoreConfig, table: OtherTable, counters: Counters) -> None:
        def prepare(session: Session, _: Tables) -> Statement:
            return prepared_elsewhere(session, course_hierarchy_text(table), table)

        self._cluster, session, self._statement = open_session(config, prepare)
        self._reads = Reads(session, counters)

    def hierarchy(self, course_id: str) -> str | None:
        """Give a course's hierarchy, None where there is none; raises StoreUnavailable or RequestFailed."""
        rows = self._reads.rows(self._reads.send(self._statement, (course_id,)))
        if isinstance(rows, ReconciliationError):
            raise rows
        text: str | None = rows[0][0] if rows else None
        return text or None

    def close(self) -> None:
        """Close all connections."""
        self._cluster.shutdown()
