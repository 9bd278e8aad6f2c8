"""Shows on standard error how far a bulk run is: a bar, its rate, the time left, and what became of its requests."""

from rich import progress
from rich.text import Text

from bulk.model import Slice
from bulk.submission import Progress
from bulk.tally import Tally
from commands.progress import Bar
from commands.terminal import printable

_RING = 2**64
_LOWEST_TOKEN = -(2**63)


class BulkProgress(Bar):
    """A bar that is there while the block runs; on a terminal alone.

    Args:
        title: what is done.
        total: how many enrolments a file has; None where the ring of tokens is looked through.

    """

    def __init__(self, title: str, total: int | None = None) -> None:
        super().__init__(
            title,
            1.0,
            progress.TaskProgressColumn(),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.fields[told]}"),
            told="",
        )
        self._total = total
        self._seen = Tally()
        self._requests = ""

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
