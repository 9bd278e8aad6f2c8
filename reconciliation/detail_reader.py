"""Reads what an explanation tells beside the comparison, from columns and tables that an installation may lack."""

from collections.abc import Mapping, Sequence
from typing import Any

from cassandra.cluster import Cluster, Session

from reconciliation.binding import Statement
from reconciliation.counters import Counters
from reconciliation.errors import ReconciliationError
from reconciliation.explanation_facts import EnrolmentDetails, OtherEnrolment, Templates
from reconciliation.learner_reader import LearnerReader, PreparedReads, prepare_reads
from reconciliation.model import EnrolmentKey
from reconciliation.statements import (
    BATCH_TABLE,
    DETAIL_COLUMNS,
    Tables,
    certificate_templates_text,
    detail_enrolment_text,
    users_consumption_text,
    users_enrolments_text,
)
from reconciliation.store_connection import StoreConfig, open_session
from reconciliation.store_errors import translated

_MOST_ENROLMENTS = 200
_MOST_CONSUMPTION = 2000


class DetailReader(LearnerReader):
    """A `LearnerReader` that prepares more statements, each when it is first needed and where the schema allows it.

    Every method raises StoreUnavailable or RequestFailed.
    """

    def __init__(
        self, cluster: Cluster, session: Session, statements: PreparedReads, tables: Tables, counters: Counters
    ) -> None:
        super().__init__(cluster, session, statements, counters)
        self._session = session
        self._tables = tables

    @classmethod
    def connect(cls, config: StoreConfig, counters: Counters) -> "DetailReader":
        """Return a reader that is ready for use; raises as `LearnerReader.connect`."""
        cluster, session, (statements, tables) = open_session(
            config, lambda session, tables: (prepare_reads(config, session, tables), tables)
        )
        return cls(cluster, session, statements, tables, counters)

    def details(self, key: EnrolmentKey) -> EnrolmentDetails:
        """Return the rest of an enrolment's row, as far as its table has the columns; all None where there is none."""
        columns = [name for name in DETAIL_COLUMNS if name in self._columns(self._tables.enrolments)]
        if not columns:
            return EnrolmentDetails()
        text = detail_enrolment_text(self._tables, columns)
        rows = self._read(text, (key.user_id, key.course_id, key.batch_id))
        if not rows:
            return EnrolmentDetails()
        cells: Mapping[str, Any] = dict(zip(columns, rows[0], strict=True))
        return EnrolmentDetails(
            active=cells.get("active"),
            certificates=_names(cells, "certificates"),
            issued_certificates=_names(cells, "issued_certificates"),
            certificate_status=cells.get("certstatus"),
            enrolled_date=cells.get("enrolleddate"),
            enrolled_ms=cells.get("enrolled_date"),
            last_read_content=cells.get("lastreadcontentid"),
            updated_ms=cells.get("datetime"),
        )

    def templates(self, key: EnrolmentKey) -> Templates:
        """Say whether the batch has a certificate template, where the keyspace has the course service's table."""
        if not {"courseid", "batchid", "cert_templates"} <= set(self._columns(BATCH_TABLE)):
            return Templates.NOT_LOOKED
        rows = self._read(certificate_templates_text(self._tables), (key.course_id, key.batch_id))
        if not rows:
            return Templates.NO_BATCH
        return Templates.THERE if rows[0][0] else Templates.NONE

    def others(self, key: EnrolmentKey) -> tuple[OtherEnrolment, ...]:
        """Return where else the learner has rows: other batches of this course first, then other courses."""
        enrolled = self._read(users_enrolments_text(self._tables), (key.user_id, _MOST_ENROLMENTS))
        consumed = self._read(users_consumption_text(self._tables), (key.user_id, _MOST_CONSUMPTION))
        found = {(course, batch): OtherEnrolment(course, batch, is_enrolled=False) for course, batch in consumed}
        found |= {
            (course, batch): OtherEnrolment(course, batch, is_enrolled=True, status=status)
            for course, batch, status in enrolled
        }
        found.pop((key.course_id, key.batch_id), None)
        return tuple(sorted(found.values(), key=lambda it: (it.course_id != key.course_id, it)))

    def _columns(self, table: str) -> Sequence[str]:
        # an unquoted name is folded to lower case by Cassandra
        tables = self._cluster.metadata.keyspaces[self._tables.keyspace.lower()].tables
        return list(tables[table.lower()].columns) if table.lower() in tables else []

    def _read(self, text: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        rows = self.reads.rows(self.reads.send(self._prepare(text), values))
        if isinstance(rows, ReconciliationError):
            raise rows
        return rows

    def _prepare(self, text: str) -> Statement:
        try:
            made = self._session.prepare(text)
        except Exception as error:
            # the schema was asked before: what goes wrong now is the server's doing
            raise translated(error) from error
        made.is_idempotent = True
        return Statement(made)


def _names(cells: Mapping[str, Any], column: str) -> tuple[str, ...] | None:
    if column not in cells:
        return None
    certificates = cells[column] or []
    return tuple(_name(dict(certificate)) for certificate in certificates)


def _name(certificate: Mapping[str, str]) -> str:
    named = (certificate.get(name) for name in ("name", "identifier", "id"))
    return next((name for name in named if name), "without a name")
