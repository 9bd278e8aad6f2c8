"""`bulk status`: the bulk runs that the ledger remembers, and how far each has come (docs/bulk.md)."""

import time
from collections.abc import Sequence

import click

from bulk.runs import RunState, RunStore, Standing
from commands.endings import NotDone, told
from commands.moments import format_moment, format_span
from commands.servers import read_settings
from commands.terminal import console, examples, json_option, print_json, printable, table
from ledger.config import ledger_config
from ledger.connection import LedgerConnection

_LEFT = "left"


@click.command(
    "status",
    epilog=examples("bulk status", "bulk status 20260131-143005-3fa2", "bulk status 20260131-143005-3fa2 --json"),
)
@click.argument("run_id", metavar="[RUN]", required=False)
@json_option
@told
def bulk_status(run_id: str | None, as_json: bool) -> None:
    """Show the bulk runs of the last 30 days, or one of them: how it stands and what became of its requests.

    "left" is one whose process is gone without a word: resume it. The ledger counts requests, whoever drives the run.
    """
    settings = read_settings()
    store = RunStore(LedgerConnection(ledger_config(settings)))
    try:
        runs = store.list() if run_id is None else [_one(store, run_id)]
    finally:
        store.close()
    now_ms = time.time_ns() // 1_000_000
    if as_json:
        documents = [_document(it, now_ms) for it in runs]
        print_json({"group": settings.kafka_group_id, "runs": documents} if run_id is None else documents[0])
    elif run_id is not None:
        _show_one(runs[0], now_ms)
    elif runs:
        _show(runs, now_ms)
    else:
        click.echo(f"the ledger of group {settings.kafka_group_id} remembers no bulk run")


def _one(store: RunStore, run_id: str) -> Standing:
    standing = store.read(run_id)
    if standing is None:
        raise NotDone(f"there is no run {printable(run_id)}; `enrolment-reconciliation bulk status` lists them")
    return standing


def _state(it: Standing) -> str:
    return _LEFT if it.is_left else it.run.state.value


def _seconds(it: Standing, now_ms: int) -> float:
    ended_ms = now_ms if it.run.ended_ms is None else it.run.ended_ms
    return max(0, ended_ms - it.run.started_ms) / 1000


def _rate(it: Standing, now_ms: int) -> float:
    """Give the requests that were submitted in a second, from its first start to its end."""
    seconds = _seconds(it, now_ms)
    return round(it.counts.submitted / seconds, 1) if seconds else 0.0


def _document(it: Standing, now_ms: int) -> dict[str, object]:
    run, counts = it.run, it.counts
    return {
        "run": run.run_id,
        "state": _state(it),
        "driven_by": it.driven_by,
        "started_ms": run.started_ms,
        "ended_ms": run.ended_ms,
        "looked_at": run.looked_at,
        "found": run.found,
        "unjudged": run.unjudged,
        "submitted": counts.submitted,
        "collapsed": counts.collapsed,
        "open": counts.open,
        "settled": counts.settled,
        "given_up": counts.given_up,
        "certificates": counts.certificates,
        "rate": _rate(it, now_ms),
        "checkpoint": run.checkpoint,
        "selection": run.selection,
        "options": run.options,
        "reason": run.reason,
    }


def _show(runs: Sequence[Standing], now_ms: int) -> None:
    columns = ["run", "state", "started", "took", "found", "submitted", "open", "settled", "given up", "reason"]
    rows = [
        (
            it.run.run_id,
            _state(it),
            format_moment(it.run.started_ms),
            format_span(round(_seconds(it, now_ms) * 1000)),
            it.run.found,
            it.counts.submitted,
            it.counts.open,
            it.counts.settled,
            it.counts.given_up,
            it.run.reason,
        )
        for it in runs
    ]
    console().print(table(columns, rows))


def _show_one(it: Standing, now_ms: int) -> None:
    run, counts = it.run, it.counts
    driven = f", driven by {it.driven_by}" if it.driven_by else ""
    rows = [
        ("state", f"{_state(it)}{driven}"),
        ("started", format_moment(run.started_ms)),
        ("ended", "" if run.ended_ms is None else format_moment(run.ended_ms)),
        ("looked at", run.looked_at),
        ("found", run.found),
        ("could not be judged", run.unjudged or ""),
        ("submitted", f"{counts.submitted}, {_rate(it, now_ms)} a second"),
        ("of these joined a click", counts.collapsed),
        ("open", counts.open),
        ("settled", counts.settled),
        ("given up", counts.given_up),
        ("certificate events sent", counts.certificates or ""),
        ("goes on after", "" if run.checkpoint is None else run.checkpoint),
        ("selection", run.selection),
        ("options", run.options),
        ("reason", run.reason),
    ]
    console().print(table(["run", run.run_id], [row for row in rows if row[1] != ""]))
    if it.is_left or run.state in (RunState.INTERRUPTED, RunState.STOPPED, RunState.FAILED):
        click.echo(f"`enrolment-reconciliation bulk --resume {run.run_id}` goes on with it")
