"""Parts slices between learners, so that the checkpoints of a run lie close together. Pure."""

from collections.abc import Iterator, Sequence

from bulk.model import Found, Slice, TokenRange, Unjudged
from bulk.ring import token_of

#: How many enrolments a run deals with between two checkpoints; more where one learner has so many.
MOST = 100

_Named = tuple[int, Found | Unjudged]


def parted(whole: Slice, most: int = MOST) -> Iterator[Slice]:
    """Give a slice of the ring of tokens in parts of so many enrolments, in token order; together they are all of it.

    Each part ends with the token of its last learner, and the last one where the slice ends. How many enrolments were
    looked at up to a part's end isn't known: it is taken to be its share of the tokens.
    """
    enrolments: list[Found | Unjudged] = [*whole.found, *whole.unjudged]
    named = sorted(((token_of(it.enrolment.user_id), it) for it in enrolments), key=_token)
    begin, after, looked_at = 0, whole.tokens.after, 0
    while begin < len(named):
        end = _end(named, begin + most)
        until = named[end - 1][0] if end < len(named) else whole.tokens.until
        share = (until - whole.tokens.after) / (whole.tokens.until - whole.tokens.after)
        up_to_here = max(looked_at, round(whole.looked_at * share))
        yield _part(named[begin:end], TokenRange(after, until), up_to_here - looked_at)
        begin, after, looked_at = end, until, up_to_here
    if not named:
        yield whole


def _end(named: Sequence[_Named], at: int) -> int:
    """Give the first place from `at` on that lies between two learners."""
    while at < len(named) and named[at][0] == named[at - 1][0]:
        at += 1
    return min(at, len(named))


def _part(named: Sequence[_Named], tokens: TokenRange, looked_at: int) -> Slice:
    enrolments = [it for _, it in named]
    return Slice(
        tokens,
        looked_at,
        tuple(it for it in enrolments if isinstance(it, Found)),
        tuple(it for it in enrolments if isinstance(it, Unjudged)),
    )


def _token(named: _Named) -> int:
    return named[0]
