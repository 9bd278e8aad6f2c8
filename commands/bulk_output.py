"""What `bulk` prints: counts as a table for people or as JSON for scripts."""

from bulk.model import Reason
from bulk.order import Order
from bulk.runs import RunCounts
from bulk.tally import Tally
from commands.terminal import console, table

_WRONG = tuple(reason for reason in Reason if reason is not Reason.SELECTED)


def say_selection(order: Order) -> str:
    """Say in a few words which enrolments are meant."""
    selection = order.selection
    parts = [
        f"{name} {value}"
        for name, value in (
            ("learner", selection.user_id),
            ("course", selection.course_id),
            ("batch", selection.batch_id),
        )
        if value
    ]
    if order.file is not None:
        parts.insert(0, f"file {order.file.name}")
    where = ", ".join(parts) or "all enrolments"
    which = [
        text
        for text, holds in (
            ("active", selection.active_only),
            ("not completed", selection.not_completed),
            ("stuck", selection.stuck),
            ("without a certificate", selection.missing_certificates),
        )
        if holds
    ]
    return f"{where}: {' and '.join(which)}" if which else where


def print_tally(tally: Tally, order: Order) -> None:
    """Print what a look found."""
    kept = [reason for reason in _WRONG if tally.reasons[reason]]
    which = "are selected" if order.is_plain else "were found"
    summary = f"{tally.found:,} enrolments {which}, of {tally.looked_at:,} looked at"
    out = console()
    if kept:
        out.print(
            table(["what is wrong", "enrolments"], [(reason.value, f"{tally.reasons[reason]:,}") for reason in kept])
        )
    out.print(summary)
    print_unjudged(tally)


def print_unjudged(tally: Tally) -> None:
    """Print how many could not be judged, if there are any: they are left as they are."""
    if tally.unjudged:
        console().print(f"{tally.unjudged:,} could not be judged; a report (--report) says why of each")


def print_after(before: Tally | None, after: Tally, order: Order) -> None:
    """Print what is wrong after a run beside what was wrong before it, if that is known."""
    if before is None:
        print_tally(after, order)
        return
    kept = [reason for reason in _WRONG if before.reasons[reason] or after.reasons[reason]]
    rows = [(reason.value, f"{before.reasons[reason]:,}", f"{after.reasons[reason]:,}") for reason in kept]
    rows.append(("could not be judged", f"{before.unjudged:,}", f"{after.unjudged:,}"))
    console().print(table(["enrolments", "before", "after"], rows))


def counts_text(counts: RunCounts) -> str:
    """Say what became of a run's requests."""
    parts = [f"{counts.submitted:,} requests submitted", f"{counts.settled:,} settled"]
    if counts.open:
        parts.append(f"{counts.open:,} open")
    if counts.given_up:
        parts.append(f"{counts.given_up:,} given up (`enrolment-reconciliation failed` says why)")
    if counts.certificates:
        parts.append(f"{counts.certificates:,} certificate events sent")
    return ", ".join(parts)
