"""Shows on standard error how far a bulk run is: a bar, its rate, the time left, and what became of its requests."""

from types import TracebackType
from typing import Self

from rich import progress
from rich.text import Text

from bulk.model import Slice
from bulk.submission import Progress
from bulk.tally import Tally
from commands.terminal import console, printable

_RING = 2**64
_LOWEST_TOKEN = -(2**63)


class BulkProgress:
    """A bar that is there while the block runs; on a terminal alone.

    Args:
        title: what is done.
        total: how many enrolments a file has; None where the ring of tokens is looked through.

    """

    def __init__(self, title: str, total: int | None = None) -> None:
        screen = console(to_stderr=True)
        self._total = total
        self._seen = Tally()
        self._requests = ""
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.fields[told]}"),
            console=screen,
            transient=True,
            disable=not screen.is_terminal,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task(title, total=1.0, told="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def slice_done(self, part: Slice) -> None:
        """Note one slice that is dealt with."""
        self._seen.add(part)
        self._bar.update(self._task, completed=self._share(part.tokens.until))
        self._show()

    def submission_told(self, told: Progress) -> None:
        """Note how the run's requests stand, and what they wait for."""
        counts = told.counts
        waiting = f", waits for {printable(told.waits_for)}" if told.waits_for else ""
        self._requests = f"; {counts.settled} settled, {counts.open} open, {counts.given_up} given up{waiting}"
        self._show()

    def say(self, line: str) -> None:
        """Show a sentence above the bar; where there is none, as a line of standard error."""
        self._bar.console.print(Text(printable(line)))

    def _share(self, position: int) -> float:
        if self._total is not None:
            return position / max(1, self._total)
        return (position - _LOWEST_TOKEN) / _RING

    def _show(self) -> None:
        seconds = self._bar.tasks[self._task].elapsed or 0.0
        rate = f" ({self._seen.looked_at / seconds:,.0f}/s)" if seconds >= 1 else ""
        told = f"{self._seen.looked_at:,} looked at{rate}, {self._seen.found:,} found{self._requests}"
        self._bar.update(self._task, told=told)
