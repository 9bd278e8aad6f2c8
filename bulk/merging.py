"""Joins enrolments and consumption as they come in token order, neither held whole. Pure."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeAlias

Row: TypeAlias = tuple[Any, ...]
#: A content and its status; a null status is None.
Contents: TypeAlias = list[tuple[str, int | None]]

_KEY = itemgetter(0, 1, 2)
_CONTENT = itemgetter(3, 4)


def joined(
    enrolments: Iterable[Row], consumption: Iterable[Row], token_of: Callable[[str], int], most_contents: int
) -> Iterator[tuple[int, Row, Contents | None]]:
    """Give each enrolment's token and row with all that was consumed in it, in the order in which enrolments come.

    Rows of both begin with user, course and batch; consumption goes on with content and status. Both come in the order
    of token, user, course and batch, each ascending. Consumption without an enrolment is passed over. Contents are None
    where there are more than `most_contents`: they are not held.
    """
    groups = _groups(consumption, token_of)
    place, contents = next(groups, _END)
    user, token = None, 0
    for row in enrolments:
        if row[0] != user:
            user = row[0]
            token = token_of(user)
        here = (token, *_KEY(row))
        while place is not None and place < here:
            place, contents = next(groups, _END)
        if place == here:
            yield token, row, _bounded(contents, most_contents)
        else:
            yield token, row, []


_Place: TypeAlias = tuple[int, str, str, str]
_END: tuple[_Place | None, Iterator[Row]] = (None, iter(()))


def _groups(
    consumption: Iterable[Row], token_of: Callable[[str], int]
) -> Iterator[tuple[_Place | None, Iterator[Row]]]:
    user, token = None, 0
    for key, rows in groupby(consumption, _KEY):
        if key[0] != user:
            user = key[0]
            token = token_of(user)
        yield (token, *key), rows


def _bounded(rows: Iterator[Row], most: int) -> Contents | None:
    contents: Contents = []
    for row in rows:
        contents.append(_CONTENT(row))
        if len(contents) > most:
            return None
    return contents
