"""`shadow`: shows what shadow mode has found (docs/shadow.md)."""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace

import click

from commands.endings import told
from commands.moments import format_moment
from commands.servers import read_settings
from commands.terminal import console, examples, json_option, print_json, table
from ledger.comparisons import MOST_KEPT, Comparisons, ReportedComparisons, ReportedDifference
from ledger.config import ledger_config
from reconciliation.settings import Settings
from reconciliation.shadow import MEANINGS, Kind


@click.command(
    epilog=examples("shadow", "shadow --kind incomplete-though-complete --limit 100", "shadow --json", "shadow --clear")
)
@click.option("--kind", type=click.Choice([kind.value for kind in Kind]), help="Show differences of this kind alone.")
@click.option(
    "--limit",
    type=click.IntRange(0, MOST_KEPT),
    default=20,
    show_default=True,
    help=f"The most differences to show, the latest first; the last {MOST_KEPT} are kept.",
)
@click.option("--clear", is_flag=True, help="Forget the report, so that it begins anew; shows nothing.")
@json_option
@told
def shadow(kind: str | None, limit: int, clear: bool, as_json: bool) -> None:
    """Show what shadow mode has found: in what the tables differ from what we would have left there.

    Shadow mode (shadow.enabled) compares each sync request with what another job wrote in answer, and writes and sends
    nothing. The report is that of the group ending in "-shadow", whether shadow mode is on or off.
    """
    settings = read_settings()
    config = replace(ledger_config(settings), group_id=settings.shadow_group_id)
    report = Comparisons(config, now_ms=lambda: time.time_ns() // 1_000_000)
    try:
        if clear:
            _tell_cleared(settings, report.clear(), as_json=as_json)
            return
        found = report.read()
    finally:
        report.close()
    shown = [it for it in found.differences if kind in (None, it.kind)][:limit]
    if as_json:
        print_json(_document(settings, found, shown))
    else:
        _print(settings, found, shown)


def _tell_cleared(settings: Settings, was_there: bool, *, as_json: bool) -> None:
    if as_json:
        print_json({"group": settings.shadow_group_id, "cleared": was_there})
    elif was_there:
        click.echo(f"cleared: the report of group {settings.shadow_group_id} begins anew")
    else:
        click.echo(f"nothing to do: group {settings.shadow_group_id} has no report")


def _document(settings: Settings, found: ReportedComparisons, shown: Sequence[ReportedDifference]) -> dict[str, object]:
    summary = {name: value for name, value in asdict(found).items() if name not in ("kinds", "differences")}
    return {
        "group": settings.shadow_group_id,
        "enabled": settings.shadow_enabled,
        **summary,
        "kinds": {kind.value: count for kind, count in found.kinds.items()},
        "differences": [asdict(it) for it in shown],
    }


def _print(settings: Settings, found: ReportedComparisons, shown: Sequence[ReportedDifference]) -> None:
    if not settings.shadow_enabled:
        click.echo(
            "Shadow mode is off here (shadow.enabled, SHADOW_ENABLED). "
            f"This is the report of group {settings.shadow_group_id}, as far as there is one."
        )
    if found.since_ms is None:
        click.echo(
            f"Nothing has been compared in group {settings.shadow_group_id}. Shadow mode compares requests of "
            f"{settings.kafka_input_topic} once they are {settings.shadow_delay:g} s old (shadow.delay): "
            "do a bridge and a worker run with SHADOW_ENABLED=true?"
        )
        return
    click.echo(
        f"From {_time(found.since_ms)} to {_time(found.latest_ms)}, {found.compared} requests were compared: "
        f"{found.agreed} agree, {found.differing} differ, and {found.moved_on} say nothing, since the learner went on "
        "after the request."
    )
    if found.unanswered:
        click.echo(
            f"Of those that differ, {found.unanswered} have rows that nobody wrote since the request: the other job "
            "had not answered. If they are many, it is late or stands still; shadow.delay must be longer than its lag."
        )
    if found.invalid:
        click.echo(f"{found.invalid} records could not be a request; they were counted alone.")
    rows = [(kind.value, count, MEANINGS[kind]) for kind, count in found.kinds.items() if count]
    out = console()
    if not rows:
        click.echo("No difference was found.")
        return
    out.print(table(("kind", "count", "meaning"), rows, title="Differences by kind"))
    if shown:
        columns = ("when", "kind", "user", "course", "batch", "activity", "expected", "found", "answered")
        out.print(table(columns, [_row(it) for it in shown], title="The latest"))
        click.echo("`enrolment-reconciliation explain` tells what stands there for one learner, and why.")


def _row(it: ReportedDifference) -> tuple[object, ...]:
    ids = (it.user_id, it.course_id, it.batch_id, it.activity_id)
    return _time(it.at_ms), it.kind, *ids, it.expected, it.found, "yes" if it.answered else "not yet"


def _time(ms: int | None) -> str:
    return "" if ms is None else format_moment(ms)
