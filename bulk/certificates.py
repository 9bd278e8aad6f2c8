"""Which completed enrolments should have a certificate and have none. Pure."""

from bulk.finder import Enrolled
from reconciliation.model import COMPLETED


def may_lack_certificate(row: Enrolled, *, now_ms: int, older_than_ms: int) -> bool:
    """Say whether an enrolment should have a certificate if its batch has a template, and has none.

    It is completed since `older_than_ms` or longer (milliseconds; a fresh one's certificate may still be in the
    making) and active: the certificate service passes over the others.
    """
    cells = row.cells
    return (
        cells.status == COMPLETED
        and cells.completed_on_ms is not None
        and cells.completed_on_ms <= now_ms - older_than_ms
        and row.active is True
        and not row.has_certificate
    )
