"""What `bulk` does once it is known what is asked for: look, ask, run, look again, and say how it ended."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import click

from bulk.means import Means, open_means, refuse_in_shadow_mode
from bulk.order import Order, decode_order
from bulk.runs import DrivenRun, RunState
from bulk.tally import Tally
from commands.bulk_documents import look_document, run_document, stopped_document
from commands.bulk_looking import Asked, Looking, count
from commands.bulk_output import counts_text, print_after, print_tally, print_unjudged, say_selection
from commands.bulk_progress import BulkProgress
from commands.bulk_report_file import ReportFile
from commands.bulk_running import Done, Running, begin, noted, resume
from commands.endings import NotDone, ServerAway
from commands.enrolment_file import EnrolmentFile
from commands.interruption import Interruption
from commands.terminal import console, print_json
from reconciliation.errors import ScanFailed, SettingsError
from reconciliation.settings import Settings


@dataclass(frozen=True, slots=True)
class Call:
    """How the command was called, but for what is to be done."""

    settings: Settings
    file: EnrolmentFile | None
    report: Path | None
    recount: bool
    as_json: bool

    @property
    def total(self) -> int | None:
        """How many enrolments the file has, None where there is none."""
        return None if self.file is None else self.file.total

    def looking(self, order: Order, shown: BulkProgress, asked: Asked) -> Looking:
        """Give what finds the enrolments of an order, until it is asked to end."""
        return Looking(self.settings, order, None if self.file is None else self.file.enrolments, shown.say, asked)


def dry_run(call: Call, order: Order) -> None:
    """Say what a run would do. Raises NotDone where an operator interrupts it, ServerAway and SettingsError."""
    tally, is_whole = _look(call, order, "looking", call.report)
    if call.as_json:
        print_json(look_document(order, tally))
    else:
        print_tally(tally, order)
    if not is_whole:
        raise NotDone("interrupted: these are the counts so far, and nothing was changed")
    if tally.found and not call.as_json:
        click.echo("nothing was changed; --apply does it")


def carry_out(call: Call, order: Order, *, yes: bool) -> None:
    """Have an order done, after showing the counts and asking unless `yes`. Raises as `dry_run` does."""
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("--apply asks before it begins, and there is no terminal to ask on: give --yes as well")
    # before anybody waits for a look
    refuse_in_shadow_mode(call.settings)
    before: Tally | None = None
    if order.is_plain or not yes:
        before, is_whole = _look(call, order, "looking", call.report)
        if not call.as_json:
            print_tally(before, order)
        refusal = "" if is_whole else "interrupted: nothing was changed"
        if is_whole and before.found and not yes and not _is_agreed(before):
            refusal = "nothing was done"
        if refusal or not before.found:
            if call.as_json:
                print_json(look_document(order, before))
            if refusal:
                raise NotDone(refusal)
            click.echo("nothing to do", err=call.as_json)
            return
    # what was looked through before has its report already
    with (
        ReportFile(None if before else call.report) as report,
        Interruption() as interruption,
        open_means(call.settings) as means,
    ):
        done = _driven(call, order, means, begin(means, order), interruption, report, before)
    _end(call, order, done, before or done.tally)


def _is_agreed(before: Tally) -> bool:
    # never into what a program reads
    return click.confirm(f"Have these {before.found:,} done?", err=True)


def go_on(call: Call, run_id: str, most_given_up: int | None = None) -> None:
    """Go on with a run that did not come to its end. Raises as `dry_run` does.

    `most_given_up` takes the place of what the run was begun with, for this time.
    """
    with (
        ReportFile(call.report, goes_on=True) as report,
        Interruption() as interruption,
        open_means(call.settings) as means,
    ):
        driven = resume(means, run_id)
        order = _order_of(driven, call)
        if most_given_up is not None:
            order = replace(order, most_given_up=most_given_up)
        if driven.was_other_life:
            click.echo(
                "the ledger has lost its data since this run was left: what was accepted last may be lost. Once this "
                "run is through, begin another over the same selection: it finds what is missing",
                err=True,
            )
        done = _driven(call, order, means, driven, interruption, report, None)
    # what a run over everybody found before it began is not kept
    knows_before = not order.is_plain and done.tally.is_whole
    _end(call, order, done, done.tally if knows_before else None)


def _driven(
    call: Call,
    order: Order,
    means: Means,
    driven: DrivenRun,
    interruption: Interruption,
    report: ReportFile,
    before: Tally | None,
) -> Done:
    with (
        _told_as_document(call, order, driven, before),
        noted(driven),
        BulkProgress("applying", call.total) as shown,
        call.looking(order, shown, Asked(interruption, driven.keep)) as looking,
    ):
        shown.say(f"run {driven.run.run_id}: {say_selection(order)}")
        return Running(call.settings, means, order, looking, interruption, shown, report).go(driven)


@contextmanager
def _told_as_document(call: Call, order: Order, driven: DrivenRun, before: Tally | None) -> Iterator[None]:
    """Print a document for scripts of a run that ends by itself too."""
    try:
        yield
    except (NotDone, ServerAway, SettingsError) as error:
        if call.as_json:
            print_json(stopped_document(order, driven, str(error), before))
        raise


@contextmanager
def _scan_told() -> Iterator[None]:
    try:
        yield
    except ScanFailed as error:
        raise ServerAway(f"looking for enrolments stopped: {error}") from error


def _order_of(driven: DrivenRun, call: Call) -> Order:
    """Read what a run was begun for; its file has to be given again and be the same."""
    try:
        order = decode_order(driven.run.selection, driven.run.options)
    except ValueError as error:
        raise _let_go(driven, f"run {driven.run.run_id} can't be resumed: {error}") from error
    if order.file is not None and call.file is None:
        raise _let_go(driven, f"run {driven.run.run_id} is for the file {order.file.name}: give --file with it")
    if order.file is None and call.file is not None:
        raise _let_go(driven, f"run {driven.run.run_id} is for no file: leave --file out")
    if order.file is not None and call.file is not None and call.file.sha256() != order.file.sha256:
        raise _let_go(
            driven, f"run {driven.run.run_id} is for the file {order.file.name} as it was: what --file names differs"
        )
    return order


def _let_go(driven: DrivenRun, why: str) -> NotDone:
    run = driven.run
    driven.end(run.state, run.ended_ms or run.started_ms, run.reason)
    return NotDone(why)


def _look(call: Call, order: Order, title: str, path: Path | None) -> tuple[Tally, bool]:
    """Look through everything once, and count; says whether it came to its end."""
    interruption = Interruption()
    with (
        ReportFile(path) as report,
        _scan_told(),
        BulkProgress(title, call.total) as shown,
        call.looking(order, shown, Asked(interruption)) as looking,
        # not before: while the first connection is waited for, an interruption ends the command at once
        interruption,
    ):
        tally = count(looking.differences(), (report.add, shown.slice_done))
        return tally, not interruption.is_asked


def _end(call: Call, order: Order, done: Done, before: Tally | None) -> None:
    """Tell how a run ended, with what is wrong now beside what was."""
    is_finished = done.state is RunState.FINISHED
    after, uncounted = _looked_again(call, order, done) if is_finished and call.recount else (None, "")
    if call.as_json:
        print_json(run_document(order, done, before, after))
    else:
        if after is not None:
            print_after(before, after, order)
        console().print(f"run {done.run_id} {done.state.value}: {counts_text(done.counts)}")
        print_unjudged(done.tally)
    if not is_finished:
        raise NotDone(f"interrupted; `enrolment-reconciliation bulk --resume {done.run_id}` goes on")
    if done.counts.given_up:
        if uncounted:
            click.echo(uncounted, err=True)
        raise NotDone(
            f"{done.counts.given_up} of its requests were given up; `enrolment-reconciliation failed` tells why, and "
            "`replay` has them tried again once that is mended"
        )
    if uncounted:
        raise ServerAway(uncounted)


def _looked_again(call: Call, order: Order, done: Done) -> tuple[Tally | None, str]:
    """Count what is wrong after a run; None where that came to no end, and why where a server is away."""
    try:
        after, is_whole = _look(call, order, "looking again", None)
    except ServerAway as error:
        return None, f"run {done.run_id} is finished, but what is wrong now could not be counted: {error}"
    return (after, "") if is_whole else (None, "")
