"""Asks the search service whether a course is retired (docs/reconciliation.md, steps)."""

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from reconciliation.errors import PutOff, ReconciliationError, RequestFailed, SearchUnavailable
from reconciliation.model import CollectionStatus
from reconciliation.settings import Settings

if TYPE_CHECKING:
    from reconciliation.search_client import SearchClient

_MOST_CACHED = 10_000
# Seconds until a course is asked about that a slow service left no time for: those before it are known by then.
_NEXT_LOOK = 1.0
_SLOW = "the search service is slow, other courses were asked about first (service.search.timeout)"
# No course has this id.
_PROBE_COURSE = "enrolment-reconciliation-probe"


class CollectionSearch:
    """The search service at `base_path`; an answer is kept `cache_expiry` seconds for each course (0: not at all).

    `header` is sent with every question, a name and a value (`search_header`). `authority` is the file of who signed
    the service's certificate, None for the usual public ones. `timeout` is in seconds, for connecting and for the whole
    answer; `clock` gives seconds that never go back. Safe for use by several threads.
    """

    def __init__(
        self,
        base_path: str,
        timeout: float = 10.0,
        cache_expiry: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
        header: tuple[str, str] | None = None,
        authority: str | None = None,
    ) -> None:
        self._base_path = base_path
        self._timeout = timeout
        self._cache_expiry = cache_expiry
        self._clock = clock
        self._header = header
        self._authority = authority
        self._client: SearchClient | None = None
        self._cached: OrderedDict[str, tuple[float, CollectionStatus]] = OrderedDict()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def status(self, course_id: str) -> CollectionStatus:
        """Return whether the course is retired; a course that is not found is not.

        Raises SearchUnavailable when the service doesn't answer in time, answers 5xx, 429, 401 or 403; RequestFailed
        for any other answer that is not understood.
        """
        cached = self._from_cache(course_id)
        if cached is not None:
            return cached
        status = _status_of(self._ask(course_id))
        self._keep(course_id, status)
        return status

    def statuses(self, course_ids: Iterable[str]) -> dict[str, CollectionStatus | ReconciliationError]:
        """Return for each course what `status` returns or raises.

        A service that doesn't answer, or not soon, is waited for once, not once a course: after `timeout` seconds, what
        is not kept from earlier gets the last course's SearchUnavailable, or PutOff where it has answered all so far.
        """
        ends = self._clock() + self._timeout
        statuses: dict[str, CollectionStatus | ReconciliationError] = {}
        away: SearchUnavailable | None = None
        for course_id in course_ids:
            if self._clock() >= ends:
                statuses[course_id] = self._from_cache(course_id) or away or PutOff(_SLOW, _NEXT_LOOK)
                continue
            try:
                statuses[course_id] = self.status(course_id)
            except SearchUnavailable as error:
                statuses[course_id] = away = error
            except ReconciliationError as error:
                statuses[course_id] = error
        return statuses

    def probe(self) -> None:
        """Raise SearchUnavailable unless the service answers a search; what it answers does not matter.

        A search and not any other page: a gateway in front of a broken service still has pages of its own.
        """
        try:
            self._ask(_PROBE_COURSE)
        except RequestFailed:
            return

    def _ask(self, course_id: str) -> bytes:
        return self._opened().ask(course_id)

    def _opened(self) -> "SearchClient":
        # requests takes memory, and most workers never come upon a course without leaf nodes (docs/performance.md)
        from reconciliation.search_client import SearchClient  # noqa: PLC0415 - loaded with the first question

        with self._lock:
            if self._client is None:
                self._client = SearchClient(self._base_path, self._timeout, self._clock, self._header, self._authority)
            return self._client

    def _from_cache(self, course_id: str) -> CollectionStatus | None:
        with self._lock:
            until, status = self._cached.get(course_id, (float("-inf"), None))
            return status if self._clock() < until else None

    def _keep(self, course_id: str, status: CollectionStatus) -> None:
        if self._cache_expiry <= 0:
            return
        with self._lock:
            self._cached[course_id] = (self._clock() + self._cache_expiry, status)
            self._cached.move_to_end(course_id)
            while len(self._cached) > _MOST_CACHED:
                self._cached.popitem(last=False)


def search_header(settings: Settings) -> tuple[str, str] | None:
    """Give the header that shows the search service who we are, if any."""
    if settings.search_token is not None:
        return "Authorization", f"Bearer {settings.search_token}"
    return settings.search_header


def _status_of(body: bytes) -> CollectionStatus:
    try:
        result = json.loads(body)["result"]
        count = result["count"]
        status = result["content"][0]["status"] if count > 0 else None
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise RequestFailed(f"the search service answered 200 with a body that is no search result: {error}") from error
    return CollectionStatus.RETIRED if status == "Retired" else CollectionStatus.NOT_RETIRED
