"""Writes many log lines of one kind cheaply: structlog takes 35 to 140 µs a line, this a few.

One logging record carries the rows of a group of requests, and the formatter (reconciliation/logs.py) makes a line of
each. So levels, handlers and their locks are the ordinary ones.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

#: The most rows that are written at once. Prefork's children share one standard error, and a pipe takes 4 KiB as a
#: whole (pipe(7), PIPE_BUF): what is longer could be torn apart by another's line.
MOST_ROWS = 8

Row = Mapping[str, str | int | float]


@dataclass(frozen=True, slots=True)
class Rows:
    """Lines of one event; each has fields of its own, at least one."""

    event: str
    rows: Sequence[Row]

    def __str__(self) -> str:
        return "\n".join(f"{self.event} {dict(row)}" for row in self.rows)


def write_rows(logger: logging.Logger, level: int, event: str, rows: Sequence[Row]) -> None:
    """Write a line for each row, at this level of `logging`, with the row's fields."""
    if not logger.isEnabledFor(level):
        return
    for at in range(0, len(rows), MOST_ROWS):
        logger.handle(
            logger.makeRecord(logger.name, level, "", 0, Rows(event, rows[at : at + MOST_ROWS]), (), exc_info=None)
        )


def as_json(record: logging.LogRecord, rows: Rows) -> str:
    """Give a JSON object a line, in the form of structlog's."""
    shared = {"event": rows.event, "logger": record.name, "level": record.levelname.lower(), "timestamp": _time(record)}
    tail = f", {json.dumps(shared)[1:]}"
    return "\n".join([json.dumps(row)[:-1] + tail for row in rows.rows])


def as_text(record: logging.LogRecord, rows: Rows) -> str:
    """Give a line for people a row, in the form of structlog's without colours."""
    head = f"{_time(record)} [{record.levelname.lower():<9}] {rows.event:<30} [{record.name}] "
    return "\n".join([head + " ".join([f"{name}={_shown(value)}" for name, value in row.items()]) for row in rows.rows])


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z")


def _shown(value: str | float) -> str:
    """Show a value; a text that could be taken for several, or break the line, as Python would write it."""
    if isinstance(value, str) and (not value.isprintable() or not value or " " in value or "=" in value):
        return repr(value)
    return str(value)
