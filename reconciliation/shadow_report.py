"""Where shadow mode tells what it found: a report, counters and the log (docs/shadow.md)."""

from collections.abc import Sequence
from typing import Protocol

import structlog

from reconciliation.counters import Counters
from reconciliation.shadow import Comparison

log = structlog.get_logger(__name__)


class ComparisonReport(Protocol):
    """Where comparisons are counted and their differences kept."""

    def record(self, comparisons: Sequence[Comparison]) -> Sequence[bool]:
        """Take these in, each entry's once; says of each whether it is new. Raises LedgerUnavailable."""

    def record_invalid(self, records: int) -> None:
        """Count records that can't be requests. Raises LedgerUnavailable."""


def tell(comparisons: Sequence[Comparison], report: ComparisonReport, counters: Counters) -> None:
    """Report comparisons, count them and log each difference, without the learner's id. Raises LedgerUnavailable."""
    if not comparisons:
        return
    for comparison, is_new in zip(comparisons, report.record(comparisons), strict=True):
        if not is_new:
            continue
        counters.shadow_compared.inc(comparison.was_compared)
        counters.shadow_moved_on.inc(comparison.moved_on)
        for difference in comparison.differences:
            counters.shadow_differences[difference.kind].inc()
            log.info(
                "the tables differ from what we would have left there",
                kind=difference.kind.value,
                course=comparison.enrolment.course_id,
                batch=comparison.enrolment.batch_id,
                entry=comparison.entry_id,
                activity=difference.activity_id or None,
                expected=difference.expected,
                found=difference.found,
                answered=comparison.answered,
            )
