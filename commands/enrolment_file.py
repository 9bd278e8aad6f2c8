"""A file of enrolments that a command was given: checked whole before anything is done with it."""

import hashlib
import io
from collections.abc import Iterator
from typing import BinaryIO

import click

from commands.endings import NotDone
from commands.request_file import BadLine, read_enrolments
from reconciliation.model import EnrolmentKey

#: The most that is taken from where nothing can be read twice, in bytes: some hundred thousand lines.
_LARGEST_PIPE = 64 * 1024 * 1024
_TOLD_LINES = 20
_BLOCK = 1024 * 1024


class EnrolmentFile:
    """The enrolments that `--file` names; `total` is how many.

    Making one tells of each line that names none, and raises click's error then; `nothing` begins that error.
    """

    def __init__(self, file: BinaryIO, nothing: str = "nothing is sent") -> None:
        self.name = file.name
        self._lines = _rereadable(file)
        self.total = self._checked(nothing)

    def enrolments(self) -> Iterator[EnrolmentKey]:
        """Read them, from the first one on. Raises NotDone where the file has changed since it was checked."""
        self._lines.seek(0)
        for item in read_enrolments(self._lines):
            if isinstance(item, BadLine):
                raise NotDone(f"line {item.line} changed while it was read: {item.reason}")
            yield item

    def sha256(self) -> str:
        """Name what it holds."""
        self._lines.seek(0)
        digest = hashlib.sha256()
        while block := self._lines.read(_BLOCK):
            digest.update(block)
        return digest.hexdigest()

    def _checked(self, nothing: str) -> int:
        good = bad = 0
        self._lines.seek(0)
        for item in read_enrolments(self._lines):
            if isinstance(item, BadLine):
                bad += 1
                if bad <= _TOLD_LINES:
                    click.echo(f"line {item.line}: {item.reason}", err=True)
            else:
                good += 1
        if bad > _TOLD_LINES:
            click.echo(f"… and {bad - _TOLD_LINES} more", err=True)
        if bad:
            raise click.BadParameter(f"{nothing}: {bad} of {good + bad} lines are wrong", param_hint="--file")
        if not good:
            raise click.BadParameter(f"{nothing}: there is no line under the header", param_hint="--file")
        return good


def _rereadable(file: BinaryIO) -> BinaryIO:
    """Give what can be read twice: all lines are checked before the first is used."""
    if file.seekable():
        return file
    content = file.read(_LARGEST_PIPE + 1)
    if len(content) > _LARGEST_PIPE:
        raise click.BadParameter(
            f"more than {_LARGEST_PIPE // 1024**2} MiB come from what can't be read twice; name a file",
            param_hint="--file",
        )
    return io.BytesIO(content)
