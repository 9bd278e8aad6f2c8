"""Looks for a bulk run's enrolments, from the tables or from a file, and counts them."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

from bulk.file_slices import file_slices
from bulk.model import Found, Reason, Selection, Slice, Unjudged
from bulk.options import ScanOptions
from bulk.order import Order
from bulk.parts import parted
from bulk.scan import Scan, Stop
from bulk.tally import Tally
from commands.interruption import Interruption
from reconciliation.errors import Interrupted
from reconciliation.model import EnrolmentKey
from reconciliation.settings import Settings

#: Gives a file's enrolments from its first line on, as often as it is called; None where there is no file.
Enrolments = Callable[[], Iterator[EnrolmentKey]] | None


class Asked:
    """Tells a look that it is to end, and keeps a run alive meanwhile: it is asked several times a second."""

    def __init__(self, interruption: Interruption, keep: Callable[[], object] = lambda: None) -> None:
        self._interruption = interruption
        self._keep = keep

    def is_set(self) -> bool:
        """Whether to end."""
        self._keep()
        return self._interruption.is_asked


class Looking:
    """Finds what an order is for. Use it as a context.

    Args:
        settings: those that bridges and workers have.
        order: what is asked for.
        enrolments: those of the order's file.
        say: takes a sentence for people when something is waited for.
        stop: says whether to end; entering the context raises Interrupted then.

    """

    def __init__(
        self, settings: Settings, order: Order, enrolments: Enrolments, say: Callable[[str], object], stop: Stop
    ) -> None:
        options = ScanOptions(
            processes=order.processes,
            most_per_second=order.scan_rate,
            aggregates=order.aggregates,
            certificate_older_than_ms=round(order.older_than * 1000),
        )
        self.scan = Scan(settings, options, say, stop)
        self._stop = stop
        self._order = order
        self._enrolments = enrolments

    def __enter__(self) -> Self:
        self.scan.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.scan.__exit__(kind, error, trace)

    def slices(self, start_after: int | None) -> Generator[Slice, None, None]:
        """Give what a run takes, in slices of about a hundred; close it, which ends the reader processes.

        It ends early where an operator wants that.
        """
        selection = self._order.selection
        if self._enrolments is None:
            with closing(self.scan.slices(selection, start_after, self._stop)) as slices:
                for it in slices:
                    yield from parted(it)
            return
        with suppress(Interrupted):
            yield from file_slices(self.scan, self._enrolments(), selection, start_after)

    def differences(self) -> Generator[Slice, None, None]:
        """Give what a run would take, each with what would change; an order for everybody names those too."""
        with closing(self.slices(None)) as parts:
            if not self._order.is_plain:
                yield from parts
                return
            stuck = replace(self._order.selection, stuck=True)
            with suppress(Interrupted):
                for part in parts:
                    yield _compared(self.scan, part, stuck)


def count(slices: Generator[Slice, None, None], observe: Iterable[Callable[[Slice], object]]) -> Tally:
    """Count what slices hold, and show each to all observers; closes them."""
    tally = Tally()
    with closing(slices):
        for part in slices:
            tally.add(part)
            for see in observe:
                see(part)
    return tally


def _compared(scan: Scan, part: Slice, selection: Selection) -> Slice:
    """Say of everybody in a slice what would change."""
    judgements = scan.judge([it.enrolment for it in part.found], selection)
    found = []
    for it, judgement in zip(part.found, judgements, strict=True):
        changed = judgement if isinstance(judgement, Found) else None
        reasons = (Reason.SELECTED, *(changed.reasons if changed else ()))
        found.append(Found(it.enrolment, reasons, changed.changes if changed else (), it.completed_on_ms))
    unjudged = tuple(it for it in judgements if isinstance(it, Unjudged))
    return replace(part, found=tuple(found), unjudged=(*part.unjudged, *unjudged))
