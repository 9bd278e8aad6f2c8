"""Reads the relation sets of courses from a table of Cassandra (docs/relations.md)."""

from collections import deque
from collections.abc import Collection, Iterable, Mapping

from cassandra.cluster import Cluster, Session

from reconciliation.binding import Statement
from reconciliation.counters import Counters
from reconciliation.errors import ReconciliationError, Server, StoreUnavailable
from reconciliation.relation_sets import FoundSets, SetName, first_names, unit_names
from reconciliation.statements import OtherTable, Tables, relation_set_text
from reconciliation.store_answers import Pending
from reconciliation.store_connection import StoreConfig, open_session, prepared_elsewhere
from reconciliation.store_opener import StoreOpener
from reconciliation.store_reads import Reads, first_error

#: How many reads are on their way at once, for one group of requests.
_MOST_IN_FLIGHT = 256
#: What Cassandra takes as a partition key, in bytes.
_LONGEST_KEY = 65_535
# They lie at several places of the ring, so that a probe fails too where one range has lost its quorum.
_PROBE_KEYS = tuple(f"enrolment-reconciliation-probe-{number}" for number in range(8))


class RelationTable:
    """The relation sets as the content service keeps them: a row each, written in one step, so never missing between.

    Args:
        config: where Cassandra is; its own three tables play no part.
        table: the relation sets' table.
        counters: counts the reads; which sets were found is for the caller to count.

    It has a connection of its own, made at first use, so after any fork, and again while that fails.

    """

    name = "cassandra"
    server = Server.CASSANDRA

    def __init__(self, config: StoreConfig, table: OtherTable, counters: Counters) -> None:
        def connect() -> _Reader:
            def prepare(session: Session, _: Tables) -> Statement:
                return prepared_elsewhere(session, relation_set_text(table), table)

            return _Reader(*open_session(config, prepare), counters)

        self._open = StoreOpener(connect)

    def look(self, wanted: Mapping[str, Collection[str]]) -> FoundSets:
        """Ask for the sets of all courses together, in two rounds of single reads, all of a round side by side.

        A read that fails is its course's error, RequestFailed or StoreUnavailable. Raises StoreUnavailable while there
        is no connection, also where keyspace or table is missing.
        """
        reader = self._open()
        found = FoundSets()
        reader.ask(found, first_names(wanted))
        reader.ask(found, unit_names(found.units()))
        return found

    def sets(self, names: Collection[SetName]) -> FoundSets:
        """Ask for these sets alone, as `look` does."""
        found = FoundSets()
        self._open().ask(found, names)
        return found

    def probe(self) -> None:
        """Raise StoreUnavailable unless the table takes reads at LOCAL_QUORUM."""
        self._open.probe()

    def close(self) -> None:
        """Close the connection if there is one."""
        self._open.close()


class _Reader:
    """An open connection with the one statement."""

    def __init__(self, cluster: Cluster, session: Session, statement: Statement, counters: Counters) -> None:
        self._cluster = cluster
        self._statement = statement
        self._reads = Reads(session, counters)

    def ask(self, found: FoundSets, names: Iterable[SetName]) -> None:
        """Read these sets, each in a request of its own."""
        in_flight: deque[tuple[SetName, Pending]] = deque()
        for name in dict.fromkeys(names):
            found.asked.add(name)
            key = str(name)
            if not _is_key(key):
                continue
            if len(in_flight) == _MOST_IN_FLIGHT:
                self._take(found, *in_flight.popleft())
            in_flight.append((name, self._reads.send(self._statement, (key,))))
        while in_flight:
            self._take(found, *in_flight.popleft())

    def probe(self) -> None:
        """Raise StoreUnavailable unless the table takes reads at LOCAL_QUORUM."""
        pending = [self._reads.send(self._statement, (key,)) for key in _PROBE_KEYS]
        error = first_error([self._reads.rows(it) for it in pending])
        if error is not None:
            raise StoreUnavailable(f"the table of relation sets answers no reads: {error}") from error

    def close(self) -> None:
        """Close all connections."""
        self._cluster.shutdown()

    def _take(self, found: FoundSets, name: SetName, pending: Pending) -> None:
        rows = self._reads.rows(pending)
        if isinstance(rows, ReconciliationError):
            found.errors.setdefault(name.course_id, rows)
        elif rows and rows[0][0]:
            found.sets[name] = frozenset(rows[0][0])


def _is_key(key: str) -> bool:
    """Say whether a row can have this key: one that can't have it is not there, and spoils nobody else's read."""
    try:
        return len(key.encode()) <= _LONGEST_KEY
    except UnicodeEncodeError:
        return False
