"""Asks for certificates that completed enrolments lack, with the one event that asks for one (docs/bulk.md)."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from bulk.file_slices import Judge
from bulk.model import Found, Reason, Selection
from bulk.steps import Insisting, once
from reconciliation.errors import ReconciliationError
from reconciliation.events import certificate_event, completion_mid
from reconciliation.model import Completion, EnrolmentKey, OutgoingEvent

#: How many events are confirmed by Kafka before the next ones leave.
_PORTION = 200


class Publisher(Protocol):
    """Sends events to Kafka: `reconciliation.publisher.EventPublisher`."""

    def publish(self, events: Sequence[OutgoingEvent]) -> list[ReconciliationError | None]:
        """Send events and wait for Kafka's word on each."""


class Memory(Protocol):
    """Remembers what was sent since the run's last checkpoint."""

    def sent_since(self) -> Collection[str]:
        """Give the mids of the events that were sent."""

    def note_sent(self, mids: Collection[str]) -> None:
        """Remember them."""


class Pacing(Protocol):
    """Keeps to a run's rate: `bulk.submission.Submission`."""

    def portion(self, most: int) -> int:
        """Wait until some of `most` may leave; gives how many, 0 where an operator wants an end before."""

    def spend(self, count: int) -> None:
        """Note that so many have left."""


class Unhurried:
    """Lets everything leave at once."""

    def portion(self, most: int) -> int:
        """Give all of them."""
        return most

    def spend(self, count: int) -> None:
        """Note nothing."""


class CertificateSender:
    """Sends certificate events of one run.

    Args:
        judge: looks at each enrolment once more before its event leaves.
        publisher: the way to Kafka.
        topic: where certificates are asked for.
        memory: what keeps a run that was killed from sending again what had left.
        reissue: what the events ask for.
        now_ms: the clock, in ms since 1970.
        insist: takes a step again while the ledger or Kafka is away.
        pacing: keeps to the run's rate.

    """

    def __init__(
        self,
        judge: Judge,
        publisher: Publisher,
        topic: str,
        memory: Memory,
        *,
        reissue: bool,
        now_ms: Callable[[], int],
        insist: Insisting = once,
        pacing: Pacing | None = None,
    ) -> None:
        self._judge = judge
        self._publisher = publisher
        self._topic = topic
        self._memory = memory
        self._reissue = reissue
        self._now_ms = now_ms
        self._insist = insist
        self._pacing = pacing or Unhurried()

    def send(self, enrolments: Sequence[EnrolmentKey], selection: Selection, is_stopped: Callable[[], bool]) -> bool:
        """Send an event for each of these that still lacks its certificate; says False where it was stopped before.

        The completion has been in the row since it was found, so no event comes before it. Raises the
        ReconciliationError that says why Kafka did not confirm one, as the judge does and as `insist` does.
        """
        wanted = replace(selection, stuck=False, missing_certificates=True)
        sent = set(self._insist(self._memory.sent_since)) if enrolments else set()
        at = 0
        while at < len(enrolments):
            size = 0 if is_stopped() else self._pacing.portion(min(_PORTION, len(enrolments) - at))
            if size == 0:
                return False
            judgements = self._judge.judge(enrolments[at : at + size], wanted)
            at += size
            completions = [
                Completion(it.enrolment, it.completed_on_ms)
                for it in judgements
                if isinstance(it, Found) and Reason.NO_CERTIFICATE in it.reasons and it.completed_on_ms is not None
            ]
            self._send([it for it in completions if completion_mid(it) not in sent])
        return True

    def _send(self, completions: Sequence[Completion]) -> None:
        left = {completion_mid(it): it for it in completions}
        if left:
            self._insist(partial(self._publish, left))

    def _publish(self, left: dict[str, Completion]) -> None:
        """Send these and take out what Kafka has, which is not sent again; raises why it does not have the others."""
        mids = list(left)
        events = [certificate_event(it, self._topic, self._now_ms(), reissue=self._reissue) for it in left.values()]
        reports = self._publisher.publish(events)
        confirmed = [mid for mid, report in zip(mids, reports, strict=True) if report is None]
        for mid in confirmed:
            del left[mid]
        if confirmed:
            self._insist(partial(self._memory.note_sent, confirmed))
            self._pacing.spend(len(confirmed))
        for report in reports:
            if report is not None:
                raise report
