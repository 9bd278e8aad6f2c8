"""What `bulk --json` prints for scripts: of a look, of a run that came to its end, and of one that did not."""

from contextlib import suppress

from bulk.order import Order
from bulk.runs import DrivenRun, RunCounts, RunState
from bulk.tally import Tally
from commands.bulk_output import say_selection
from commands.bulk_running import Done
from reconciliation.errors import LedgerUnavailable


def look_document(order: Order, before: Tally) -> dict[str, object]:
    """Tell what a look found, and that nothing was done."""
    return {"selection": say_selection(order), "applied": False, "before": before.as_document()}


def run_document(order: Order, done: Done, before: Tally | None, after: Tally | None) -> dict[str, object]:
    """Tell how a run ended; `after` is None where nobody looked again."""
    return _document(order, done.run_id, done.state, done.reason, done.counts, done.tally.unjudged, before, after)


def stopped_document(order: Order, driven: DrivenRun, why: str, before: Tally | None) -> dict[str, object]:
    """Tell of a run that did not come to its end; its counts are null where the ledger can't be asked."""
    counts: RunCounts | None = None
    with suppress(LedgerUnavailable):
        counts = driven.counts()
    return _document(order, driven.run.run_id, driven.run.state, why, counts, None, before, None)


def _document(
    order: Order,
    run_id: str,
    state: RunState,
    reason: str,
    counts: RunCounts | None,
    unjudged: int | None,
    before: Tally | None,
    after: Tally | None,
) -> dict[str, object]:
    counted = ("submitted", "collapsed", "settled", "open", "given_up", "certificates")
    return {
        "run": run_id,
        "selection": say_selection(order),
        "applied": True,
        "state": state.value,
        "reason": reason,
        **{name: None if counts is None else getattr(counts, name) for name in counted},
        "unjudged": unjudged,
        "before": None if before is None else before.as_document(),
        "after": None if after is None else after.as_document(),
    }
