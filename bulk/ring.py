"""The ring of tokens: how it is parted, and where a learner lies on it. Pure.

Murmur3Partitioner alone: its tokens are all numbers of 64 bits but the smallest, and spread evenly.
"""

from collections.abc import Iterable, Sequence

from cassandra.metadata import Murmur3Token

from bulk.model import TokenRange

#: No key has this token; every key's is above it.
FIRST = -(2**63)
LAST = 2**63 - 1
_TOKENS = 2**64

#: The ring is parted into no more ranges than this; it is what a file of aggregates is parted into too.
MOST_RANGES = 1024
_FEWEST_RANGES = 64
_LEARNERS_A_RANGE = 2_000


def token_of(user_id: str) -> int:
    """Give the token of a learner's partition in the tables that are parted by learner."""
    token: int = Murmur3Token.hash_fn(user_id.encode())
    return token


def parted(count: int) -> list[TokenRange]:
    """Part the whole ring into this many ranges of one size, in order; `count` is a power of two."""
    width = _TOKENS // count
    bounds = [FIRST + width * number for number in range(count)]
    return [TokenRange(after, until) for after, until in zip(bounds, [*bounds[1:], LAST], strict=True)]


def part_of(token: int, count: int) -> int:
    """Say in which of the ranges that `parted` gives a token lies."""
    return min((token - FIRST - 1) // (_TOKENS // count), count - 1)


def remaining(ranges: Iterable[TokenRange], start_after: int | None) -> list[TokenRange]:
    """Leave out what lies before and with `start_after`, a token that may lie within a range."""
    if start_after is None:
        return list(ranges)
    return [TokenRange(max(it.after, start_after), it.until) for it in ranges if it.until > start_after]


def range_count(learners: int | None) -> int:
    """Say into how many ranges to part the ring for about this many partitions; None where nobody knows."""
    wanted = (learners or 0) // _LEARNERS_A_RANGE
    count = _FEWEST_RANGES
    while count < min(wanted, MOST_RANGES):
        count *= 2
    return count


def estimated_partitions(estimates: Sequence[tuple[int, int, int]]) -> int | None:
    """Estimate a table's partitions from what one node tells of its own ranges (start, end, partitions).

    The node knows of the ranges that it is the first to hold; the others are taken to be as full. None where it told
    of none.
    """
    covered = sum((end - start) % _TOKENS or _TOKENS for start, end, _ in estimates)
    if not covered:
        return None
    return sum(count for _, _, count in estimates) * _TOKENS // covered
