"""Sends final failures to the failed topic, the bridge's and the workers' alike (docs/reconciliation.md)."""

from collections.abc import Sequence
from typing import Protocol

from reconciliation.counters import Counters
from reconciliation.errors import EventTooLarge, ReconciliationError
from reconciliation.failed_event import failed_event
from reconciliation.model import FinalFailure, Record
from reconciliation.publisher import EventPublisher

#: A failed event that its topic refuses as too large is sent again cut down to these sizes, in bytes, until one goes.
SMALLER_EVENT_BYTES = (128 * 1024, 64 * 1024, 32 * 1024, 16 * 1024, 8 * 1024)


class FailurePlace(Protocol):
    """Where a record is put with the reason why it is given up: the failed topic, or in shadow mode a count."""

    def send(self, failures: Sequence[tuple[Record, FinalFailure]]) -> list[ReconciliationError | None]:
        """Put each there; says of each whether it is there (None) or why not."""


class FailedTopic:
    """The failed topic, as a place to put a record with the reason why it is given up."""

    def __init__(self, publisher: EventPublisher, topic: str, counters: Counters) -> None:
        self._publisher = publisher
        self._topic = topic
        self._counters = counters

    def send(self, failures: Sequence[tuple[Record, FinalFailure]]) -> list[ReconciliationError | None]:
        """Send one failed event for each; says of each whether Kafka confirmed it (None) or why not."""
        reports = self._publish(failures, self._publisher.max_bytes)
        for at, report in enumerate(reports):
            if isinstance(report, EventTooLarge):
                # the topic's own limit is below the producer's
                reports[at] = self._send_smaller(failures[at], report)
        self._counters.failed_events.inc(reports.count(None))
        return reports

    def _send_smaller(
        self, failure: tuple[Record, FinalFailure], report: ReconciliationError | None
    ) -> ReconciliationError | None:
        for size in SMALLER_EVENT_BYTES:
            if not isinstance(report, EventTooLarge):
                break
            try:
                report = self._publish([failure], size)[0]
            except EventTooLarge as error:
                # nothing is left that could be cut off
                return error
        return report

    def _publish(
        self, failures: Sequence[tuple[Record, FinalFailure]], max_bytes: int
    ) -> list[ReconciliationError | None]:
        return self._publisher.publish(
            [failed_event(record, failure, self._topic, max_bytes) for record, failure in failures]
        )
