"""The file that a bulk command's report is written to, whole line by whole line."""

import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import click

from bulk.model import Slice
from bulk.report import Report, report_form
from commands.endings import NotDone

_CHUNK = 65_536


@dataclass(slots=True)
class ReportFile:
    """A report that is written while slices come; without a path it takes them and writes nothing."""

    path: Path | None
    _opened: ExitStack
    _report: Report | None = None
    _whole: int = 0

    @classmethod
    def none_or_at(cls, path: Path | None, *, goes_on: bool = False) -> "ReportFile":
        """Open the report; `goes_on` adds to one that is there. Raises click's error where it can't be written."""
        made = cls(path, ExitStack())
        if path is None:
            return made
        try:
            if goes_on:
                _drop_half_line(path)
            is_new = not (goes_on and path.exists() and path.stat().st_size)
            stream = made._opened.enter_context(path.open("w" if is_new else "a", encoding="utf-8", newline=""))
            made._whole = path.stat().st_size
        except OSError as error:
            raise click.BadParameter(f"{error.strerror}: {path}", param_hint="--report") from error
        made._report = Report(stream, report_form(path.name), is_new=is_new)
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._opened.close()
        except OSError as failed:
            if error is None:
                raise self._unwritten(failed) from failed

    def add(self, part: Slice) -> None:
        """Write a slice down. Raises NotDone where that can't be, with whole lines of other slices in the file."""
        if self._report is None or self.path is None:
            return
        try:
            self._report.add((*part.found, *part.unjudged))
            self._whole = self.path.stat().st_size
        except OSError as error:
            # closing writes what it still has, as far as there is room again: so the file is cut after that
            with suppress(OSError):
                self._opened.close()
            with suppress(OSError):
                os.truncate(self.path, self._whole)
            raise self._unwritten(error) from error

    def _unwritten(self, error: OSError) -> NotDone:
        return NotDone(f"the report can't be written: {self.path}: {error.strerror}")


def _drop_half_line(path: Path) -> None:
    """Cut off a last line without its end, as a process leaves it that is killed while it writes."""
    if not path.is_file():
        return
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            begin = max(0, end - _CHUNK)
            file.seek(begin)
            newline = file.read(end - begin).rfind(b"\n")
            if newline >= 0:
                file.truncate(begin + newline + 1)
                return
            end = begin
        file.truncate(0)
