"""The enrolments of a file, judged and given out in slices as a scan gives them."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

from bulk.model import Found, Selection, Slice, TokenRange, Unjudged
from reconciliation.model import EnrolmentKey

#: How many lines lie between two checkpoints.
_SLICE_SIZE = 100


class Judge(Protocol):
    """Judges enrolments that are named: `bulk.scan.Scan`."""

    def judge(self, enrolments: Sequence[EnrolmentKey], selection: Selection) -> list[Found | Unjudged | None]:
        """Say of each enrolment why a run with this selection would take it; None where it would not."""


def file_slices(
    judge: Judge, enrolments: Iterable[EnrolmentKey], selection: Selection, start_after: int | None
) -> Iterator[Slice]:
    """Give slices whose tokens are the enrolments' numbers in the file, from 1; goes on after `start_after` of them.

    Raises as `judge` does.
    """
    at = start_after or 0
    following = islice(iter(enrolments), at, None)
    while part := list(islice(following, _SLICE_SIZE)):
        judgements = judge.judge(part, selection)
        yield Slice(
            TokenRange(at, at + len(part)),
            len(part),
            tuple(it for it in judgements if isinstance(it, Found)),
            tuple(it for it in judgements if isinstance(it, Unjudged)),
        )
        at += len(part)
