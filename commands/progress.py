"""Shows on standard error how far long work is; on a terminal alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from rich import progress

from commands.terminal import console


class Bar:
    """A bar that is there while the block runs; `told` are its first values of columns that show fields."""

    def __init__(self, title: str, total: float | None, *columns: progress.ProgressColumn, **told: Any) -> None:
        screen = console(to_stderr=True)
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            *columns,
            console=screen,
            transient=True,
            disable=not screen.is_terminal,
            # what is printed meanwhile stays where it belongs
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task(title, total=total, **told)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


class Progress(Bar):
    """A bar that counts steps; `total` None shows a count alone."""

    def __init__(self, title: str, total: int | None = None) -> None:
        super().__init__(title, total, progress.MofNCompleteColumn(), progress.TimeRemainingColumn())

    def advance(self, steps: int) -> None:
        """Note that so many steps more are done."""
        self._bar.advance(self._task, steps)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Make room for output within the block."""
        self._bar.stop()
        try:
            yield
        finally:
            self._bar.start()
