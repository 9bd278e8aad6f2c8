"""Drives one run: what a look finds is submitted slice by slice, each followed by a checkpoint (docs/bulk.md)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from bulk.certificate_sending import CertificateSender
from bulk.model import Reason, Selection, Slice
from bulk.runs import DrivenRun
from bulk.sent_memory import SentMemory
from bulk.steps import Insisting, once
from bulk.tally import Tally
from reconciliation.errors import Interrupted
from reconciliation.model import EnrolmentKey


class Submitting(Protocol):
    """Submits enrolments and waits for their end: `bulk.submission.Submission`."""

    def submit(self, enrolments: Sequence[EnrolmentKey]) -> bool:
        """Have all of these accepted and sent; says False where it was interrupted before."""

    def wait_for_end(self) -> bool:
        """Wait until none of the run's requests is open; says False where it was interrupted before."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """What sends the certificate events of a run, and what remembers them until the next checkpoint."""

    sender: CertificateSender
    memory: SentMemory


class Drive:
    """One run under way.

    Args:
        driven: its record, which this process drives.
        submission: where what needs a reconciliation goes.
        certificates: where what needs only its certificate event goes; None where none are looked for.
        selection: what the run is for.
        is_stopped: says whether an operator wants it to end.
        report: is told of each slice before anything of it is done, and again where its checkpoint was not reached.
        observe: is told of each slice once it is dealt with.
        insist: takes a step again while the ledger is away.

    """

    def __init__(
        self,
        driven: DrivenRun,
        submission: Submitting,
        certificates: Certificates | None,
        selection: Selection,
        is_stopped: Callable[[], bool],
        report: Callable[[Slice], object],
        observe: Callable[[Slice], object],
        insist: Insisting = once,
    ) -> None:
        self._driven = driven
        self._submission = submission
        self._certificates = certificates
        self._selection = selection
        self._is_stopped = is_stopped
        self._report = report
        self._observe = observe
        self._insist = insist
        # since the run was begun, whoever drove it
        self.tally = Tally.of(driven.run)

    def go(self, slices: Iterable[Slice]) -> bool:
        """Deal with all slices and wait for the end of what they led to; says False where it was stopped before.

        A slice that was dealt with is behind the checkpoint; one that was not is looked through again on the next go,
        where the ledger knows what is still open of it. Raises as the parts do.
        """
        try:
            for part in slices:
                if not self._deal_with(part):
                    return False
        except Interrupted:
            # while it waited for a server
            return False
        return not self._is_stopped() and self._submission.wait_for_end()

    def _deal_with(self, part: Slice) -> bool:
        # after a long standstill the run, and its report, may be another process's
        self._driven.keep()
        # what was healed is not found again: a report that can't be written has to end the run before that
        self._report(part)
        stuck = [it.enrolment for it in part.found if it.reasons != (Reason.NO_CERTIFICATE,)]
        if not self._submission.submit(stuck):
            return False
        if self._certificates is not None:
            lacking = [it.enrolment for it in part.found if Reason.NO_CERTIFICATE in it.reasons]
            if not self._certificates.sender.send(lacking, self._selection, self._is_stopped):
                return False
        counted = self.tally.plus(part)
        self._insist(partial(self._driven.save, checkpoint=part.tokens.until, **counted.as_kept))
        self.tally = counted
        self._observe(part)
        if self._certificates is not None:
            self._insist(self._certificates.memory.forget)
        return True
