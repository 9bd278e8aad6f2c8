"""What the reader sees: steps with their durations, tables, and events as they lie on their topics."""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from demo.check import Result, expected_counts
from demo.kafka import Event
from demo.learners import Enrolment, Learner
from demo.rows import Rows
from devstack.report import progress as plain_progress
from devstack.stack import Report

_WIDEST = 100
_NOTHING = "-"


class Step:
    """One step that is going on; `detail` is what its line says in the end."""

    def __init__(self) -> None:
        self.detail = ""


def make_console() -> Console:
    """Give a console that writes plain lines where there is no terminal, or where NO_COLOR asks for them."""
    if hasattr(sys.stdout, "reconfigure"):
        # a terminal that knows no arrows shows question marks, and no error
        sys.stdout.reconfigure(errors="replace")
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ
    return Console(force_terminal=False if plain else None, no_color=plain, highlight=False)


@contextmanager
def step(console: Console, title: str, *, spinner: bool = True) -> Iterator[Step]:
    """Show that something is going on, and in the end what it was and how long it took."""
    began = time.monotonic()
    going = Step()
    if spinner and console.is_terminal:
        with console.status(f"{title} …"):
            yield going
    else:
        yield going
    tell(console, title, going.detail, time.monotonic() - began)


def tell(console: Console, title: str, detail: str, seconds: float) -> None:
    """Write a finished step's line: how long it took, what it was, and what came of it."""
    line = Table.grid(padding=(0, 2, 0, 0))
    line.add_column(style="green", no_wrap=True)
    line.add_column(style="cyan", no_wrap=True, min_width=6, justify="right")
    line.add_column(style="bold", no_wrap=True, min_width=8)
    line.add_column()
    line.add_row("✓", f"{seconds:.1f} s", title, detail)
    console.print(line)


@contextmanager
def servers(console: Console) -> Iterator[Report]:
    """Show what each server is doing while it starts; on a terminal only as long as that takes."""
    if not console.is_terminal:
        with plain_progress(console) as report:
            yield report
        return
    columns = (SpinnerColumn(), TextColumn("{task.fields[server]:<10}{task.description}"))
    lock = threading.Lock()
    rows: dict[str, TaskID] = {}
    with Progress(*columns, console=console, transient=True) as progress:

        def report_live(server: str, message: str) -> None:
            with lock:
                if server not in rows:
                    rows[server] = progress.add_task(message, server=server)
                progress.update(rows[server], description=message)

        yield report_live


@contextmanager
def live(console: Console, total: int) -> Iterator[Progress]:
    """Show a bar for the requests that are settled and a count of events; task 0 is the bar."""
    columns = (
        TextColumn("  requests settled"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("events seen {task.fields[events]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        progress.add_task("", total=total, events=0)
        yield progress


def show_learners(console: Console, learners: Sequence[Learner], result: Result) -> None:
    """Show every learner's enrolment before and after."""
    certified = {event.key for event in result.certificates}
    _print_rule(console, "Every learner, before → after")
    table = _table()
    table.add_column("learner", no_wrap=True)
    table.add_column("case", no_wrap=True)
    for column in ("progress", "status", "completed on"):
        table.add_column(column, no_wrap=True)
    table.add_column("certificate", justify="center")
    for learner, rows in zip(learners, result.rows, strict=True):
        before, after = learner.before, rows.enrolment
        has_certificate = learner.user_id in certified
        table.add_row(
            learner.name,
            learner.case,
            _change(before, after, "progress"),
            _change(before, after, "status"),
            _moment(after.completed_on if after else None, result.began.astimezone().date()),
            "yes" if has_certificate else _NOTHING,
            style="green" if has_certificate else "dim" if before == after else "",
        )
    console.print(table)


def show_aggregates(console: Console, learner: Learner, rows: Rows) -> None:
    """Show what the aggregates say of one learner, the nested units below those that hold them."""
    course = learner.course
    _print_rule(console, f"{learner.name} ({learner.case}): aggregates")
    table = _table()
    table.add_column("activity_id", no_wrap=True)
    table.add_column("course or unit")
    table.add_column("completedCount", justify="right")
    table.add_column("required", justify="right")
    nested = {inner.unit_id for unit in course.units for inner in unit.walk() if inner is not unit}
    nodes = [(course.course_id, course.title, "")]
    nodes += [(unit.unit_id, unit.title, "    " if unit.unit_id in nested else "  ") for unit in course.all_units()]
    for node_id, title, indent in nodes:
        count = rows.aggregates.get(node_id)
        shown = _NOTHING if count is None else f"{count:.1f}"
        table.add_row(node_id, indent + title, shown, str(len(course.required(node_id))))
    console.print(table)
    if set(expected_counts(learner)) != {node_id for node_id, _, _ in nodes}:
        console.print(Text(f"{_NOTHING}: no row, since nothing in that unit was opened yet", style="dim"))


def show_event(console: Console, title: str, event: Event) -> None:
    """Show one event as it lies on its topic."""
    _print_rule(console, title)
    place = f"{event.topic}, partition {event.partition}, offset {event.offset}"
    console.print(Text.assemble(("topic  ", "dim"), place), soft_wrap=True)
    console.print(Text.assemble(("key    ", "dim"), event.key), soft_wrap=True)
    text = pretty_json(event.value, min(console.width, _WIDEST))
    console.print(Text(text, style="cyan" if console.is_terminal else ""), soft_wrap=True)


def show_summary(console: Console, learners: Sequence[Learner], result: Result) -> None:
    """Show the figures of the run."""
    reasons = ", ".join(
        f"{event.value['failInfo']['errorCode']}: {event.value['failInfo']['error']}" for event in result.failures
    )
    _print_rule(console, "Summary")
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("requests", f"{result.sent} sent, {result.settled} settled, in {result.seconds:.1f} s")
    grid.add_row("done", f"{result.done}, for {len(learners)} learners")
    grid.add_row("skipped", f"{result.skipped} (another action: not ours)")
    grid.add_row("failed", f"{len(result.failures)}{f' ({reasons})' if reasons else ''}")
    events = f"{len(result.certificates)} certificate, {len(result.audits)} audit, {len(result.failures)} failed"
    grid.add_row("events", events)
    console.print(grid)


def show_unmet(console: Console, problems: Sequence[str]) -> None:
    """Show what is not as it must be."""
    _print_rule(console, "Not as it must be", style="red")
    for problem in problems:
        console.print(Text(f"✗ {problem}", style="red"))


def pretty_json(value: object, width: int, indent: int = 0) -> str:
    """Write JSON over several lines, but keep on one what fits into `width`."""
    short = json.dumps(value, ensure_ascii=False)
    if len(short) + indent <= width or not isinstance(value, dict | list) or not value:
        return short
    inner = " " * (indent + 2)
    if isinstance(value, dict):
        parts = [
            f"{json.dumps(name)}: {pretty_json(item, width - len(name) - 5, indent + 2)}"
            for name, item in value.items()
        ]
        opening, closing = "{", "}"
    else:
        parts = [pretty_json(item, width - 1, indent + 2) for item in value]
        opening, closing = "[", "]"
    return f"{opening}\n{inner}" + f",\n{inner}".join(parts) + f"\n{' ' * indent}{closing}"


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))


def _print_rule(console: Console, title: str, style: str = "cyan") -> None:
    console.print()
    rule = Rule(Text(title, style="bold"), align="left", style=style if console.is_terminal else "")
    console.print(rule, width=min(console.width, _WIDEST))


def _change(before: Enrolment | None, after: Enrolment | None, cell: str) -> str:
    old, new = _cell(before, cell), _cell(after, cell)
    return old if old == new else f"{old} → {new}"


def _cell(enrolment: Enrolment | None, cell: str) -> str:
    if enrolment is None:
        return "no row"
    value = getattr(enrolment, cell)
    return "null" if value is None else str(value)


def _moment(moment: datetime | None, today: date) -> str:
    if moment is None:
        return _NOTHING
    here = moment.astimezone()
    return here.strftime("today %H:%M") if here.date() == today else here.strftime("%Y-%m-%d")
