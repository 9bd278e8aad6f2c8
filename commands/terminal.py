"""What commands print: tables for people, JSON for scripts; colours only on a terminal."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reconciliation.printing import printable as printable  # noqa: PLC0414 - the commands take it from here

#: Wide enough that nothing is cut or wrapped where a program reads the output.
_WIDTH_OF_A_PIPE = 500

F = TypeVar("F", bound=Callable[..., None])


def json_option(command: F) -> F:
    """Add `--json` to a command, as the argument `as_json`."""
    option = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts instead of a table.")
    return option(command)


def examples(*lines: str) -> str:
    """Give the end of a command's help: calls to copy, without the program's name as they are given here."""
    # click lets a paragraph stand as it is that begins with this character
    return "\b\nExamples:\n" + "\n".join(f"  enrolment-reconciliation {line}" for line in lines)


def console(*, to_stderr: bool = False) -> Console:
    """Give where people read: in colours on a terminal alone, never cut where a program reads it."""
    stream = sys.stderr if to_stderr else sys.stdout
    width = None if stream.isatty() else _WIDTH_OF_A_PIPE
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


@contextmanager
def progress(doing: str) -> Iterator[Callable[[str], None]]:
    """Say on standard error what is being done, if that is a terminal; gives what changes the line."""
    shown = console(to_stderr=True)
    if not shown.is_terminal:
        yield lambda _: None
        return
    with shown.status(Text(doing)) as status:
        yield lambda line: status.update(Text(printable(line)))


def print_json(value: object) -> None:
    """Print a value as one JSON document."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_json_line(value: Mapping[str, object]) -> None:
    """Print one of many values, a JSON object a line."""
    click.echo(json.dumps(value, ensure_ascii=False))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> Table:
    """Make a table; its cells are shown as they are, and folded where the terminal is too narrow."""
    made = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(printable(str(cell))) for cell in row))
    return made
