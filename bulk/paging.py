"""Reads a token range page by page; the next page is on its way while the current one is worked on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from cassandra.cluster import Session

from bulk.model import TokenRange
from bulk.patience import Patience
from reconciliation.binding import Statement
from reconciliation.errors import ReconciliationError, StoreUnavailable
from reconciliation.store_answers import Pending, Sender
from reconciliation.store_errors import translated

Row: TypeAlias = tuple[Any, ...]

_FEWEST_ROWS = 10


@dataclass(frozen=True, slots=True)
class Source:
    """A table that is read by token range; `rows` is the size of its pages."""

    table: str
    statement: Statement
    rows: int


class Pages:
    """The rows of one table in one token range, in token order.

    A page that times out is asked for again in smaller pages, which grow again when it goes well. At most two pages are
    held. Iterating raises ScanFailed, which names the range.
    """

    def __init__(self, session: Session, source: Source, tokens: TokenRange, patience: Patience) -> None:
        self._sender = Sender(session)
        self._source = source
        self._tokens = tokens
        self._patience = patience
        self._size = source.rows

    def __iter__(self) -> Iterator[Row]:
        pending = self._send(None)
        state: bytes | None = None
        while True:
            page, following = self._receive(pending, state)
            if following is None:
                yield from page
                return
            pending, state = self._send(following), following
            yield from page

    def _send(self, state: bytes | None) -> Pending:
        bound = self._source.statement.bind((self._tokens.after, self._tokens.until))
        bound.fetch_size = self._size
        return self._sender.send(lambda: bound, paging_state=state)

    def _receive(self, pending: Pending, state: bytes | None) -> tuple[list[Row], bytes | None]:
        waiting = [pending]

        def attempt() -> tuple[list[Row], bytes | None]:
            # the first try takes what is on its way already
            asked = waiting.pop() if waiting else self._send(state)
            try:
                return _page(asked)
            except StoreUnavailable:
                self._size = max(_FEWEST_ROWS, self._size // 2)
                raise

        found = self._patience.insist(
            f"{self._source.table} between the tokens {self._tokens.after} and {self._tokens.until}", attempt
        )
        self._size = min(self._source.rows, self._size * 2)
        return found


def _page(asked: Pending) -> tuple[list[Row], bytes | None]:
    if isinstance(asked, ReconciliationError):
        raise asked
    try:
        page = asked.result()
    except Exception as error:
        raise translated(error) from error
    return list(page.current_rows), page.paging_state
