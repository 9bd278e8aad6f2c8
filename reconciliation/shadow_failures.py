"""Where shadow mode puts what is given up, in place of the failed topic: it is counted, and sent nowhere."""

from collections.abc import Sequence

from reconciliation.counters import Counters
from reconciliation.errors import InvalidRequest, ReconciliationError, RelationsMissing
from reconciliation.model import FinalFailure, Record
from reconciliation.requests import Skip, parse
from reconciliation.shadow import Comparison, Difference, Kind
from reconciliation.shadow_report import ComparisonReport, tell


class CountedFailures:
    """Counts final failures: requests that could not be compared, and records that can't be requests."""

    def __init__(self, report: ComparisonReport, counters: Counters) -> None:
        self._report = report
        self._counters = counters

    def send(self, failures: Sequence[tuple[Record, FinalFailure]]) -> list[ReconciliationError | None]:
        """Count each of these as done. Raises LedgerUnavailable where the report can't be written."""
        comparisons = [_not_compared(record, failure) for record, failure in failures]
        requests = [comparison for comparison in comparisons if comparison is not None]
        invalid = len(comparisons) - len(requests)
        tell(requests, self._report, self._counters)
        if invalid:
            self._report.record_invalid(invalid)
            self._counters.shadow_invalid_records.inc(invalid)
        return [None for _ in failures]


def _not_compared(record: Record, failure: FinalFailure) -> Comparison | None:
    """Give what is reported of a request that was given up; None where the record can't be a request."""
    try:
        request = parse(record, batch_sync=True)
    except InvalidRequest:
        return None
    if isinstance(request, Skip):
        return None
    kind = Kind.RELATIONS_MISSING if failure.code == RelationsMissing.code else Kind.NOT_COMPARED
    difference = Difference(kind, expected="a comparison", found=f"{failure.code}: {failure.error}")
    return Comparison(request.entry_id, request.enrolment, (difference,))
