"""A bulk run's report: a line for each enrolment that was found, with what differs, as CSV or as JSON Lines.

Pure but for the writing to the stream that is given.
"""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import TextIO

from bulk.model import Found, Unjudged
from reconciliation.comparison import CellValue, Change
from reconciliation.model import COMPLETED
from reconciliation.printing import printable

#: `request --file` and `bulk --file` read the first three, so that a report is a selection too.
COLUMNS = ("user", "course", "batch", "reasons", "changes")

#: What begins a formula where a spreadsheet opens the file.
_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")


class ReportForm(StrEnum):
    """How a report is written; the value is the ending of its file's name."""

    CSV = ".csv"
    JSON_LINES = ".jsonl"


def report_form(name: str) -> ReportForm:
    """Tell from a file's name how it is written; raises ValueError with what is allowed."""
    for form in ReportForm:
        if name.casefold().endswith(form.value):
            return form
    raise ValueError(f"{name!r} ends neither in {' nor in '.join(form.value for form in ReportForm)}")


class Report:
    """Writes what is found to a text stream, line by line.

    The stream must have been opened with `newline=""`; with `is_new` False it has its beginning already. Whatever
    OSError writing raises comes through.
    """

    def __init__(self, stream: TextIO, form: ReportForm, *, is_new: bool = True) -> None:
        self._stream = stream
        self._write: Callable[[Found | Unjudged], None] = self._json
        if form is ReportForm.CSV:
            # both of a line's possible ends are in it, so that an id that holds one is quoted
            self._csv = csv.writer(stream, lineterminator="\r\n")
            if is_new:
                self._csv.writerow(COLUMNS)
            self._write = self._row

    def add(self, found: Sequence[Found | Unjudged]) -> None:
        """Write these down, so that whoever reads the file now sees them."""
        for it in found:
            self._write(it)
        self._stream.flush()

    def _json(self, it: Found | Unjudged) -> None:
        self._stream.write(json.dumps(as_document(it), ensure_ascii=False) + "\n")

    def _row(self, it: Found | Unjudged) -> None:
        key = it.enrolment
        if isinstance(it, Unjudged):
            told = ("could not be judged", printable(it.why))
        else:
            told = ("; ".join(it.reasons), "; ".join(change_text(change) for change in it.changes))
        cells = (key.user_id, key.course_id, key.batch_id, *told)
        self._csv.writerow([_no_formula(text) for text in cells])


def as_document(it: Found | Unjudged) -> dict[str, object]:
    """Give one line of the report for scripts."""
    key = it.enrolment
    ids: dict[str, object] = {"user": key.user_id, "course": key.course_id, "batch": key.batch_id}
    if isinstance(it, Unjudged):
        return {**ids, "unjudged": it.why}
    changes = [
        {
            "cell": change.cell.value,
            **({"activity": change.activity_id} if change.activity_id else {}),
            "before": _plain(change.before),
            "after": _plain(change.after),
        }
        for change in it.changes
    ]
    return {**ids, "reasons": [reason.value for reason in it.reasons], "changes": changes}


def change_text(change: Change) -> str:
    """Say one change in a few words: `completedCount of do_unit1: 1 -> 3`."""
    where = f"{change.cell.value} of {printable(change.activity_id)}" if change.activity_id else change.cell.value
    return f"{where}: {_text(change.before)} -> {_text(change.after)}"


def _text(value: CellValue) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        done = sum(status == COMPLETED for status in value.values())
        return f"{done} of {len(value)} contents completed"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _plain(value: CellValue) -> object:
    return dict(value) if isinstance(value, Mapping) else value


def _no_formula(text: str) -> str:
    # whoever reads ids from a file takes off the blanks around them (commands/sync_requests.py, checked_id)
    return f" {text}" if text.startswith(_FORMULA_SIGNS) else text
