"""The file that a bulk command's report is written to, whole line by whole line."""

import os
import stat
from contextlib import suppress
from io import FileIO, StringIO
from pathlib import Path
from types import TracebackType
from typing import Self

import click

from bulk.model import Slice
from bulk.report import Report, ReportForm, report_form
from commands.endings import NotDone


class ReportFile:
    """A report that is written while slices come; without a path it takes them and writes nothing.

    Args:
        path: where it is written; its name says in which form.
        goes_on: whether to add to a report that is there.

    Raises click's error where it can't be written.

    """

    def __init__(self, path: Path | None, *, goes_on: bool = False) -> None:
        self._path = path
        self._text = StringIO(newline="")
        self._report: Report | None = None
        self._file: FileIO | None = None
        if path is None:
            return
        try:
            # without a buffer: what is not written now is not written later, and others may write to its end too
            self._file = FileIO(path, "a+")
            if not goes_on:
                self._begin(path, self._file, 0)
        except OSError as error:
            self.close()
            raise click.BadParameter(f"{error.strerror}: {path}", param_hint="--report") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; everything that was added is in it."""
        if self._file is not None:
            self._file.close()

    def add(self, part: Slice) -> None:
        """Write a slice down. Raises NotDone where that can't be, with whole lines of other slices in the file."""
        if self._path is None or self._file is None:
            return
        try:
            report = self._report
            if report is None:
                # not before the run is ours: whoever drives it may be in the middle of a line
                end = _end_of_lines(self._file, report_form(self._path.name))
                report = self._begin(self._path, self._file, end)
            report.add((*part.found, *part.unjudged))
            self._write(self._file)
        except OSError as error:
            raise NotDone(f"the report can't be written: {self._path}: {error.strerror}") from error

    def _begin(self, path: Path, file: FileIO, kept: int) -> Report:
        """Go on after so many bytes of what is there."""
        _cut(file, kept)
        self._report = Report(self._text, report_form(path.name), is_new=kept == 0)
        self._write(file)
        return self._report

    def _write(self, file: FileIO) -> None:
        """Write what was put into the text, all or nothing of it."""
        left = self._text.getvalue().encode()
        self._text.seek(0)
        self._text.truncate()
        before = os.fstat(file.fileno()).st_size
        try:
            while left:
                left = left[file.write(left) :]
        except OSError:
            with suppress(OSError):
                _cut(file, before)
            raise


def _is_regular(file: FileIO) -> bool:
    return stat.S_ISREG(os.fstat(file.fileno()).st_mode)


def _cut(file: FileIO, size: int) -> None:
    # a pipe has no size
    if _is_regular(file):
        file.truncate(size)


def _end_of_lines(file: FileIO, form: ReportForm) -> int:
    """Say where the last whole line ends: a process that is killed while it writes leaves half of one behind it."""
    if not _is_regular(file):
        return 0
    end = at = 0
    is_quoted = False
    file.seek(0)
    with os.fdopen(file.fileno(), "rb", closefd=False) as lines:
        for line in lines:
            at += len(line)
            if form is ReportForm.CSV:
                # an id may hold a line's end, within quotes
                is_quoted ^= line.count(b'"') % 2 == 1
            if line.endswith(b"\n") and not is_quoted:
                end = at
    return end
