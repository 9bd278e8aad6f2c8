"""The connection of a scan: whole tables by token range, single enrolments by key. It has no statement that writes."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from cassandra.cluster import Cluster, Session

from bulk.finder import Enrolled
from bulk.model import Selection, TokenRange
from bulk.options import ScanOptions
from bulk.paging import Pages, Row, Source
from bulk.patience import Patience
from bulk.raw_maps import int_map, leave_raw
from bulk.ring import estimated_partitions
from reconciliation.binding import Statement
from reconciliation.comparison import EnrolmentCells
from reconciliation.counters import Counters
from reconciliation.errors import ReconciliationError, SettingsError
from reconciliation.learner_reader import LearnerReader, prepare_reads
from reconciliation.model import EnrolmentKey
from reconciliation.statements import (
    BATCH_TABLE,
    SIZE_ESTIMATES,
    Tables,
    certificate_templates_text,
    enrolment_state_text,
    scan_texts,
    users_enrolments_text,
)
from reconciliation.store_connection import StoreConfig, open_session, prepared
from reconciliation.store_errors import translated

_STATES = ("progress", "contentstatus")
_ISSUED = "issued_certificates"
_MAPS = ("contentstatus", "aggregates")
_ORDER = ("userid", "courseid", "batchid")
_PARTITIONER = "Murmur3Partitioner"
#: No learner has so many enrolments.
MOST_ENROLMENTS = 100_000


class ScanSource:
    """An open connection; statements are prepared when they are first needed. Used by one thread.

    Unless it says otherwise a method raises StoreUnavailable where Cassandra is away, and SettingsError where a table
    or column that it needs isn't there. Those that take a patience wait with it, and raise ScanFailed at its end.
    """

    def __init__(
        self, cluster: Cluster, session: Session, tables: Tables, learners: LearnerReader, options: ScanOptions
    ) -> None:
        self.learners = learners
        self._cluster = cluster
        self._session = session
        self._tables = tables
        self._options = options
        self._statements: dict[str, Statement] = {}

    @classmethod
    def connect(cls, config: StoreConfig, options: ScanOptions, counters: Counters) -> "ScanSource":
        """Return a connection that is ready for use."""
        cluster, session, (statements, tables) = open_session(
            config, lambda session, tables: (prepare_reads(config, session, tables), tables)
        )
        return cls(cluster, session, tables, LearnerReader(cluster, session, statements, counters), options)

    def close(self) -> None:
        """Close all connections."""
        self._cluster.shutdown()

    def check(self, selection: Selection, *, whole: bool) -> None:
        """Raise SettingsError where this can't be looked for; `whole` says that whole tables are looked through."""
        if whole:
            self._check_order()
        if selection.missing_certificates:
            self._check_columns(self._tables.enrolments, {_ISSUED})
            self._check_columns(BATCH_TABLE, {"courseid", "batchid", "cert_templates"})

    def _check_order(self) -> None:
        partitioner = str(self._cluster.metadata.partitioner)
        if not partitioner.endswith(_PARTITIONER):
            raise SettingsError(
                f"lms-cassandra.host names servers with {partitioner}: whole tables are looked through by the tokens "
                f"of {_PARTITIONER} alone; name learners or enrolments instead"
            )
        for setting, name in (
            ("lms-cassandra.user_enrolments.table", self._tables.enrolments),
            ("lms-cassandra.content_consumption.table", self._tables.consumption),
        ):
            key = self._table(name).primary_key[:3]
            if [column.name for column in key] != list(_ORDER) or any(column.is_reversed for column in key[1:]):
                raise SettingsError(f"{setting} is {name!r}: its rows do not come in the order of {', '.join(_ORDER)}")

    def _check_columns(self, name: str, wanted: AbstractSet[str]) -> None:
        table = self._table(name)
        if table is None or not wanted <= set(table.columns):
            raise SettingsError(
                f"lms-cassandra.keyspace is {self._tables.keyspace!r}: certificates can't be looked for, since there "
                f"is no table {name} with {', '.join(sorted(wanted))}"
            )

    def estimated_learners(self) -> int | None:
        """Estimate how many learners have enrolments; None where Cassandra does not say."""
        names = (self._tables.keyspace.lower(), self._tables.enrolments.lower())
        try:
            rows = list(self._session.execute(SIZE_ESTIMATES, names))
        except Exception:  # noqa: BLE001 - some servers have no such table, and an estimate is all that is lost
            return None
        return estimated_partitions([(int(start), int(end), int(count)) for start, end, count in rows])

    def enrolments(
        self, selection: Selection, tokens: TokenRange, patience: Patience, *, compared: bool
    ) -> Iterator[Row]:
        """Give the enrolments' rows of a range, as `enrolled` reads them; iterating raises ScanFailed.

        `compared` says whether the cells that a comparison needs are read too.
        """
        columns = enrolment_columns(selection, compared=compared)
        text = scan_texts(self._tables, ("userid",), columns).scan_enrolments
        statement = self._scan("scan_enrolments", text, patience)
        return iter(
            Pages(
                self._session,
                Source(self._tables.enrolments, statement, self._options.enrolments_a_page),
                tokens,
                patience,
            )
        )

    def consumption(self, tokens: TokenRange, patience: Patience) -> Iterator[Row]:
        """Give a range's rows of (user, course, batch, content, status); iterating raises ScanFailed."""
        text = scan_texts(self._tables, ("userid",)).scan_consumption
        statement = self._scan("scan_consumption", text, patience)
        source = Source(self._tables.consumption, statement, self._options.consumption_a_page)
        return iter(Pages(self._session, source, tokens, patience))

    def aggregates(self, tokens: TokenRange, patience: Patience) -> Iterator[Row]:
        """Give rows of (activity type, activity, user, context, aggregates); iterating raises ScanFailed.

        The tokens are those of this table's own partition key.
        """
        table = self._table(self._tables.aggregates)
        key = [column.name for column in table.partition_key] if table is not None else []
        statement = self._scan("scan_aggregate", scan_texts(self._tables, key).scan_aggregate, patience)
        source = Source(self._tables.aggregates, statement, self._options.aggregates_a_page)
        return iter(Pages(self._session, source, tokens, patience))

    def states(self, keys: Sequence[EnrolmentKey], *, certificates: bool) -> list[Enrolled | None]:
        """Read of each enrolment status, completedon and active, and whether a certificate was issued.

        None stands where there is no row.
        """
        statement = self._point("state", enrolment_state_text(self._tables, certificates=certificates))
        rows = self._read_all(statement, [(key.user_id, key.course_id, key.batch_id) for key in keys])
        return [_state(key, found[0]) if found else None for key, found in zip(keys, rows, strict=True)]

    def have_templates(self, batches: Sequence[tuple[str, str]]) -> list[bool]:
        """Say of each batch, given as course and batch, whether it has a certificate template."""
        statement = self._point("templates", certificate_templates_text(self._tables))
        return [bool(rows and rows[0][0]) for rows in self._read_all(statement, batches)]

    def users_enrolments(self, user_id: str) -> list[EnrolmentKey]:
        """List a learner's enrolments, at most 100,000, by course and batch."""
        statement = self._point("users_enrolments", users_enrolments_text(self._tables))
        (rows,) = self._read_all(statement, [(user_id, MOST_ENROLMENTS)])
        return [EnrolmentKey(user_id, course_id, batch_id) for course_id, batch_id, _ in rows]

    def _table(self, name: str) -> Any:
        # an unquoted name is folded to lower case by Cassandra
        keyspace = self._cluster.metadata.keyspaces[self._tables.keyspace.lower()]
        return keyspace.tables.get(name.lower())

    def _scan(self, name: str, text: str, patience: Patience) -> Statement:
        statement = patience.insist(f"preparing {name}", lambda: self._point(name, text))
        statement.prepared.consistency_level = self._options.consistency.value
        leave_raw(statement.prepared, _MAPS)
        return statement

    def _point(self, name: str, text: str) -> Statement:
        if text not in self._statements:
            try:
                made = prepared(self._session, {name: text}, self._tables)
            except SettingsError:
                raise
            except Exception as error:
                raise translated(error) from error
            self._statements[text] = made[name]
        return self._statements[text]

    def _read_all(self, statement: Statement, values: Sequence[Sequence[object]]) -> list[list[Row]]:
        """Send all of these reads, then collect them. Raises the first one's error."""
        reads = self.learners.reads
        answers = [reads.rows(pending) for pending in [reads.send(statement, each) for each in values]]
        rows = []
        for answer in answers:
            if isinstance(answer, ReconciliationError):
                raise answer
            rows.append(answer)
        return rows


def enrolment_columns(selection: Selection, *, compared: bool) -> tuple[str, ...]:
    """Name the columns that a scan reads of an enrolment beside those that it always reads."""
    return (*(_STATES if compared else ()), *((_ISSUED,) if selection.missing_certificates else ()))


def enrolled(row: Row, *, compared: bool) -> Enrolled:
    """Make an enrolment of a scan's row."""
    user_id, course_id, batch_id, status, completed_on_ms, active, *rest = row
    progress, content_status = (rest.pop(0), int_map(rest.pop(0))) if compared else (None, None)
    return Enrolled(
        EnrolmentKey(user_id, course_id, batch_id),
        EnrolmentCells(status, completed_on_ms, progress, content_status),
        active,
        has_certificate=bool(rest and rest[0]),
    )


def _state(key: EnrolmentKey, row: Row) -> Enrolled:
    status, completed_on_ms, active, *issued = row
    cells = EnrolmentCells(status, completed_on_ms, None, None)
    return Enrolled(key, cells, active, has_certificate=bool(issued and issued[0]))
