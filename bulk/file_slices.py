"""The enrolments of a file, judged and given out in slices as a scan gives them."""

import hashlib
import json
from collections import deque
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

    One that the file names again is passed over, wherever it stands: a run asks for nothing twice. Raises as `judge`
    does.
    """
    at = start_after or 0
    following = _first_times(enrolments)
    # what was dealt with before is read all the same, so that its repeats are known
    deque(islice(following, at), maxlen=0)
    while part := list(islice(following, _SLICE_SIZE)):
        judgements = judge.judge([it for it in part if it is not None], selection)
        yield Slice(
            TokenRange(at, at + len(part)),
            len(part),
            tuple(it for it in judgements if isinstance(it, Found)),
            tuple(it for it in judgements if isinstance(it, Unjudged)),
        )
        at += len(part)


def _first_times(enrolments: Iterable[EnrolmentKey]) -> Iterator[EnrolmentKey | None]:
    """Give None in the place of an enrolment that was there before; keeps some dozens of bytes of each, and no id."""
    seen: set[bytes] = set()
    for it in enrolments:
        digest = hashlib.blake2b(json.dumps([it.user_id, it.course_id, it.batch_id]).encode(), digest_size=16).digest()
        yield None if digest in seen else it
        seen.add(digest)
