"""Carries a bulk order out: begins or resumes its run, drives it to its end, and says how it ended."""

import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from bridge.dispatch import BrokerUnavailable
from bulk.certificate_sending import CertificateSender
from bulk.driving import Certificates, Drive
from bulk.means import Means, this_process
from bulk.order import Order, encode_order
from bulk.runs import DrivenRun, Run, RunCounts, RunRefused, RunState, life_of, new_run_id
from bulk.sent_memory import SentMemory
from bulk.submission import LedgerForgot, Submission, TooManyGivenUp
from bulk.tally import Tally
from commands.bulk_looking import Looking
from commands.bulk_progress import BulkProgress
from commands.bulk_report_file import ReportFile
from commands.endings import NotDone, ServerAway
from commands.interruption import Interruption
from commands.servers import open_publisher
from ledger.config import ledger_config
from ledger.connection import LedgerConnection
from reconciliation.errors import Interrupted, LedgerUnavailable, ReconciliationError, ScanFailed, SettingsError
from reconciliation.settings import Settings


@dataclass(frozen=True, slots=True)
class Done:
    """How a run ended: what became of its requests, and what was looked at and found, all since it began."""

    run_id: str
    state: RunState
    counts: RunCounts
    tally: Tally
    reason: str = ""


def begin(means: Means, order: Order) -> DrivenRun:
    """Make the run of an order. Raises NotDone where it can't be driven, LedgerUnavailable."""
    selection, options = encode_order(order)
    run_id = new_run_id(datetime.now(UTC), uuid.uuid4().hex)
    run = Run(run_id, selection, options, started_ms=_now_ms())
    with _refusals():
        return means.runs.begin(run, uuid.uuid4().hex, this_process(), life_of(means.ledger.verify()))


def resume(means: Means, run_id: str) -> DrivenRun:
    """Go on with a run. Raises NotDone where that can't be, LedgerUnavailable."""
    with _refusals():
        return means.runs.resume(run_id, uuid.uuid4().hex, this_process(), life_of(means.ledger.verify()))


class Running:
    """Drives a run.

    Args:
        settings: those that bridges and workers have.
        means: the ledger, the runs and the way to the broker.
        order: what the run is for.
        looking: what finds its enrolments.
        interruption: says when an operator wants it to end.
        shown: shows how far it is.
        report: takes what is found.

    """

    def __init__(
        self,
        settings: Settings,
        means: Means,
        order: Order,
        looking: Looking,
        interruption: Interruption,
        shown: BulkProgress,
        report: ReportFile,
    ) -> None:
        self._settings = settings
        self._means = means
        self._order = order
        self._looking = looking
        self._interruption = interruption
        self._shown = shown
        self._report = report

    def go(self, driven: DrivenRun) -> Done:
        """Drive it to its end, or until it is interrupted; use it within `noted`."""
        submission = self._submission(driven)
        with (
            self._certificates(driven, submission) as certificates,
            closing(self._looking.slices(driven.run.checkpoint)) as slices,
        ):
            drive = Drive(
                driven,
                submission,
                certificates,
                self._order.selection,
                lambda: self._interruption.is_asked,
                self._report.add,
                self._shown.slice_done,
                submission.insist,
            )
            submission.insist(driven.go_on)
            is_through = drive.go(slices)
            counts = submission.insist(driven.counts)
            state = RunState.FINISHED if is_through else RunState.INTERRUPTED
            submission.insist(partial(driven.end, state, _now_ms(), "" if is_through else "interrupted"))
            return Done(driven.run.run_id, state, counts, drive.tally, driven.run.reason)

    def _submission(self, driven: DrivenRun) -> Submission:
        return Submission(
            ledger=self._means.ledger,
            driven=driven,
            sender=self._means.sender,
            interruption=self._interruption,
            rate=self._order.rate,
            most_given_up=self._order.most_given_up,
            tell=self._shown.submission_told,
        )

    @contextmanager
    def _certificates(self, driven: DrivenRun, submission: Submission) -> Iterator[Certificates | None]:
        if not self._order.selection.missing_certificates:
            yield None
            return
        connection = LedgerConnection(ledger_config(self._settings))
        try:
            with open_publisher(self._settings) as publisher:
                memory = SentMemory(connection, driven.run.run_id)
                sender = CertificateSender(
                    self._looking.scan,
                    publisher,
                    self._settings.kafka_certissue_topic,
                    memory,
                    reissue=self._order.reissue,
                    now_ms=_now_ms,
                    insist=submission.insist,
                    pacing=submission,
                )
                yield Certificates(sender, memory)
        finally:
            connection.close()


@contextmanager
def noted(driven: DrivenRun) -> Iterator[None]:
    """Note in the record why a run ended early; raises NotDone and ServerAway, which say what to do next."""
    run_id = driven.run.run_id
    go_on = f"`enrolment-reconciliation bulk --resume {run_id}` goes on with it"
    try:
        yield
    except RunRefused as error:
        raise NotDone(str(error)) from error
    except Interrupted as error:
        _note(driven, RunState.INTERRUPTED, "interrupted")
        raise NotDone(f"interrupted; {go_on}") from error
    except TooManyGivenUp as error:
        _note(driven, RunState.STOPPED, error)
        raise NotDone(f"run {run_id} stopped: {error}; {go_on}") from error
    except LedgerForgot as error:
        _note(driven, RunState.FAILED, error)
        raise NotDone(f"run {run_id}: {error}") from error
    except (LedgerUnavailable, BrokerUnavailable, ReconciliationError, ScanFailed) as error:
        _note(driven, RunState.FAILED, error)
        raise ServerAway(f"run {run_id} stopped: {error}; {go_on}") from error
    except NotDone as error:
        _note(driven, RunState.FAILED, error)
        raise NotDone(f"run {run_id} stopped: {error}; {go_on}") from error
    except SettingsError as error:
        _note(driven, RunState.FAILED, error)
        raise SettingsError(f"run {run_id} stopped: {error}; {go_on}") from error
    except BaseException:
        _note(driven, RunState.FAILED, "it ended with an error of its own")
        raise


def _note(driven: DrivenRun, state: RunState, why: object) -> None:
    # the record can't be reached either, or is another's: it then says that its process is gone
    with suppress(LedgerUnavailable, RunRefused):
        driven.end(state, _now_ms(), str(why))


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except RunRefused as error:
        raise NotDone(str(error)) from error


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
