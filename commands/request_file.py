"""Reads enrolments from a CSV file. Pure but for the reading itself, which goes line by line."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from commands.sync_requests import checked_id
from reconciliation.model import EnrolmentKey

COLUMNS = ("user", "course", "batch")

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that names no enrolment; `line` counts from 1, `reason` says why not."""

    line: int
    reason: str


def read_enrolments(lines: Iterable[bytes]) -> Iterator[EnrolmentKey | BadLine]:
    """Give the enrolment that each line names, or why it names none.

    The first line names the columns: user, course and batch, in any order and case; others are passed over, and so are
    blank lines. Where the file as a whole can't be read, the last thing that is given says so.
    """
    rows = csv.reader(_texts(lines), strict=True)
    begin = 1
    try:
        header = next(rows, None)
        if header is None:
            yield BadLine(1, f"there is no header; it must name {', '.join(COLUMNS)}")
            return
        places = _places(header)
        if isinstance(places, str):
            yield BadLine(1, places)
            return
        begin = rows.line_num + 1
        for row in rows:
            line, begin = begin, rows.line_num + 1
            if any(cell.strip() for cell in row):
                yield _enrolment(row, places, line)
    except csv.Error as error:
        yield BadLine(begin, str(error))
    except _NotText as error:
        yield BadLine(rows.line_num + 1, str(error))


class _NotText(Exception):
    """Raised where a line is not UTF-8."""


def _texts(lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines):
        own = line.removeprefix(_BYTE_ORDER_MARK) if number == 0 else line
        try:
            yield own.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _NotText(f"it is not UTF-8 at byte {error.start + 1}") from None


def _places(header: list[str]) -> tuple[int, ...] | str:
    """Find the three columns; says what is wrong where they aren't there once each."""
    names = [name.strip().casefold() for name in header]
    missing = [column for column in COLUMNS if column not in names]
    if missing:
        return (
            f"the header has no {' and no '.join(missing)} (it names {', '.join(names) or 'nothing'}); "
            "columns are separated by commas"
        )
    twice = [column for column in COLUMNS if names.count(column) > 1]
    if twice:
        return f"the header names {' and '.join(twice)} more than once"
    return tuple(names.index(column) for column in COLUMNS)


def _enrolment(row: list[str], places: tuple[int, ...], line: int) -> EnrolmentKey | BadLine:
    ids = []
    for column, place in zip(COLUMNS, places, strict=True):
        if place >= len(row):
            return BadLine(line, f"{column} is missing")
        try:
            ids.append(checked_id(column, row[place]))
        except ValueError as error:
            return BadLine(line, str(error))
    return EnrolmentKey(*ids)
