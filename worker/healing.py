"""Asks the job that makes relation sets for those of courses that have none (docs/relations.md, healing)."""

from collections.abc import Callable, Iterable

import structlog

from ledger.healing import HealingTurns
from reconciliation.counters import Counters
from reconciliation.errors import LedgerUnavailable
from reconciliation.events import healing_event
from reconciliation.publisher import EventPublisher

log = structlog.get_logger(__name__)


class Healing:
    """Sends an event for a course at most once in an interval. Safe for use by several threads.

    Args:
        turns: whose turn it is, over all workers.
        publisher: sends events to Kafka and waits until it has them.
        topic: where that job listens.
        counters: what is counted on the way.
        now_ms: the clock, in milliseconds since 1970.

    """

    def __init__(
        self,
        *,
        turns: HealingTurns,
        publisher: EventPublisher,
        topic: str,
        counters: Counters,
        now_ms: Callable[[], int],
    ) -> None:
        self._turns = turns
        self._publisher = publisher
        self._topic = topic
        self._counters = counters
        self._now_ms = now_ms

    def ask(self, course_ids: Iterable[str]) -> None:
        """Ask for these courses' relation sets, where it is our turn, and wait for Kafka's confirmation.

        It fails nobody: what goes wrong is only told. A turn is spent also where Kafka did not confirm, since the event
        may have arrived.
        """
        distinct = list(dict.fromkeys(course_ids))
        try:
            ours = [it for it, is_ours in zip(distinct, self._turns.take(distinct), strict=True) if is_ours]
        except LedgerUnavailable as error:
            log.warning("nobody was asked for missing relation sets", courses=distinct, error=str(error))
            return
        if not ours:
            return
        reports = self._publisher.publish([healing_event(it, self._topic, self._now_ms()) for it in ours])
        for course_id, report in zip(ours, reports, strict=True):
            if report is None:
                self._counters.relation_healings.inc()
                log.info("a course's relation sets are asked for", course=course_id, topic=self._topic)
            else:
                log.warning(
                    "a course's relation sets could not be asked for",
                    course=course_id,
                    error=str(report),
                    next_step="enrolment-reconciliation relations --course … --heal asks once more",
                )

    def close(self) -> None:
        """Close the connections to Redis."""
        self._turns.close()
