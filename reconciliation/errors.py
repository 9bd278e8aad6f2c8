"""Every error of the product, in one place: an error's class tells the retry policy what to do.

See docs/reliability.md for the rule behind each class.
"""

from collections.abc import Iterator
from enum import StrEnum


class Server(StrEnum):
    """The servers whose absence is an outage and not a failure of a request."""

    CASSANDRA = "Cassandra"
    REDIS = "Redis"
    KAFKA = "Kafka"
    SEARCH = "search service"


class ReconciliationError(Exception):
    """Base of all errors that one request or one server causes."""

    code = "RECONCILIATION_ERROR"


class PermanentError(ReconciliationError):
    """Base of errors that no retry can cure: the request goes to the failed topic at once."""

    code = "PERMANENT"


class InvalidRequest(PermanentError):
    """Raised when a record on the input topic can't be a sync request."""

    code = "INVALID_REQUEST"


class RequestError(ReconciliationError):
    """Base of errors of one request that a few tries may cure; each try is counted."""

    code = "REQUEST_ERROR"


class RequestFailed(RequestError):
    """Raised when a request fails for a reason of its own, while every server is well."""

    code = "REQUEST_FAILED"


class RelationsMissing(RequestError):
    """Raised when a course that is not retired has no leaf nodes in the relation cache."""

    code = "RELATIONS_MISSING"


class CompletionSwallowed(RequestError):
    """Raised when a completion was written but a row stamped later hides it."""

    code = "COMPLETION_SWALLOWED"


class OutageError(ReconciliationError):
    """Base of errors that mean a server is away; an outage only while a probe of it fails too."""

    code = "OUTAGE"
    server: Server


class StoreUnavailable(OutageError):
    """Raised when Cassandra did not answer."""

    code = "STORE_UNAVAILABLE"
    server = Server.CASSANDRA


class RelationCacheUnavailable(OutageError):
    """Raised when the Redis of the relation cache did not answer."""

    code = "RELATION_CACHE_UNAVAILABLE"
    server = Server.REDIS


class PublishFailed(OutageError):
    """Raised when Kafka did not confirm an event."""

    code = "PUBLISH_FAILED"
    server = Server.KAFKA


class EventTooLarge(PermanentError):
    """Raised when an event is larger than its topic takes."""

    code = "EVENT_TOO_LARGE"


class SearchUnavailable(OutageError):
    """Raised when the search service did not answer, or answered 5xx."""

    code = "SEARCH_UNAVAILABLE"
    server = Server.SEARCH


class ClaimLost(ReconciliationError):
    """Raised when an attempt no longer holds its claim: another one goes on, this one writes no more."""

    code = "CLAIM_LOST"


class PutOff(ReconciliationError):
    """Raised when an attempt is to be made `delay` seconds later, and nothing is wrong: it spends nothing."""

    code = "PUT_OFF"

    def __init__(self, text: str, delay: float) -> None:
        super().__init__(text)
        self.delay = delay


class LedgerUnavailable(Exception):
    """Raised when the ledger's Redis did not answer; nothing can be decided until it does."""

    code = "LEDGER_UNAVAILABLE"


class LedgerOutOfMemory(LedgerUnavailable):
    """Raised when the ledger's Redis has no memory for what a step would add; it does answer."""


class ScanFailed(Exception):
    """Raised when a look through whole tables can't go on; the text is one line that says why and what to do."""


class Interrupted(Exception):
    """Raised within a look or a wait that an operator ends early: what was given out before is whole."""


class SettingsError(Exception):
    """Raised when a setting is missing or wrong; the text is one line that names it and what is allowed."""


#: What a request is told to fail with when its attempts ended their own processes, and when its task was revoked.
WORKER_LOST = "WORKER_LOST"
REVOKED = "REVOKED"

#: Stands in metrics for a code that is not among `CODES`, as another release may have recorded.
OTHER = "OTHER"


def _codes(base: type[ReconciliationError]) -> Iterator[str]:
    """Give the codes of the errors that are raised: those that no other one is made of."""
    below = base.__subclasses__()
    if not below:
        yield base.code
    for error in below:
        yield from _codes(error)


#: Every code that an attempt may end with: the values of a metric's label (docs/metrics.md).
CODES = (*_codes(ReconciliationError), LedgerUnavailable.code, WORKER_LOST, REVOKED, OTHER)
