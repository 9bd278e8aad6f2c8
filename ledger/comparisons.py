"""The report of shadow mode, in the ledger's Redis under the group's prefix (docs/shadow.md)."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ledger.connection import LedgerConfig, LedgerConnection, translated
from reconciliation.shadow import Comparison, Difference, Kind

#: How many differences are kept, the latest.
MOST_KEPT = 1000
#: How many differences of one request are kept: a course may have hundreds of units. All of them are counted.
_MOST_KEPT_OF_ONE = 20
#: Ids of Sunbird are a few dozen characters; what a hostile request names is cut, so that the report stays small.
_LONGEST_KEPT = 512

_COMPARED, _AGREED, _MOVED_ON, _DIFFERING, _UNANSWERED, _INVALID = (
    "compared",
    "agreed",
    "moved on",
    "differing",
    "unanswered",
    "invalid",
)


@dataclass(frozen=True, slots=True)
class ReportedDifference:
    """One difference as it stands in the report; `at_ms` is when it was found, in milliseconds since 1970.

    `answered` says that the rows were written since the request.
    """

    at_ms: int
    kind: str
    user_id: str
    course_id: str
    batch_id: str
    activity_id: str
    expected: str
    found: str
    answered: bool


@dataclass(frozen=True, slots=True)
class ReportedComparisons:
    """What shadow mode has found since the report was begun or cleared.

    Requests were `compared`; of these `agreed` had no difference, `moved_on` say nothing, since the learner consumed
    more after the request, and `differing` have differences; of the differing, `unanswered` have rows that nobody
    wrote since the request. `invalid` counts records that can't be requests. `kinds` counts differences. Times in
    milliseconds since 1970, None where nothing was compared.
    """

    since_ms: int | None
    latest_ms: int | None
    compared: int
    agreed: int
    moved_on: int
    differing: int
    unanswered: int
    invalid: int
    kinds: Mapping[Kind, int]
    differences: tuple[ReportedDifference, ...]


class Comparisons:
    """The report of one consumer group. Safe for use by several threads.

    Args:
        config: where and whose; of a group that works in shadow mode.
        now_ms: the clock, in milliseconds since 1970.

    """

    def __init__(self, config: LedgerConfig, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._connection = LedgerConnection(config)
        self._counts = self._connection.prefix + "shadow:counts"
        self._differences = self._connection.prefix + "shadow:differences"

    def close(self) -> None:
        """Close the connections to Redis."""
        self._connection.close()

    def record(self, comparisons: Sequence[Comparison]) -> list[bool]:
        """Take these in; says of each whether it is new. An entry counts once. Raises LedgerUnavailable."""
        now_ms = self._now_ms()
        arguments: list[str | bytes | int] = [MOST_KEPT]
        for comparison in comparisons:
            names, kept = _names(comparison), comparison.differences[:_MOST_KEPT_OF_ONE]
            texts = [_encoded(comparison, difference, now_ms) for difference in kept]
            arguments += [comparison.entry_id, len(names), *names, len(texts), *texts]
        return [row == 1 for row in self._connection.run("compared", arguments)]

    def record_invalid(self, records: int) -> None:
        """Count records that can't be requests. Raises LedgerUnavailable."""
        arguments: list[str | bytes | int] = [MOST_KEPT]
        for _ in range(records):
            arguments += ["", 1, _INVALID, 0]
        self._connection.run("compared", arguments)

    def read(self) -> ReportedComparisons:
        """Give the whole report, the latest difference first. Raises LedgerUnavailable."""
        with translated(), self._connection.redis.pipeline(transaction=True) as together:
            together.hgetall(self._counts)
            together.lrange(self._differences, 0, MOST_KEPT - 1)
            found, texts = together.execute()
        counts = {name.decode(): int(value) for name, value in found.items()}
        return ReportedComparisons(
            since_ms=counts.get("since"),
            latest_ms=counts.get("latest"),
            compared=counts.get(_COMPARED, 0),
            agreed=counts.get(_AGREED, 0),
            moved_on=counts.get(_MOVED_ON, 0),
            differing=counts.get(_DIFFERING, 0),
            unanswered=counts.get(_UNANSWERED, 0),
            invalid=counts.get(_INVALID, 0),
            kinds={kind: counts.get(_kind_name(kind), 0) for kind in Kind},
            differences=tuple(ReportedDifference(*json.loads(text)) for text in texts),
        )

    def clear(self) -> bool:
        """Forget the report; says whether there was one. Raises LedgerUnavailable."""
        with translated():
            return bool(self._connection.redis.delete(self._counts, self._differences))


def _names(comparison: Comparison) -> list[str]:
    """Name what a comparison counts as; a kind stands there once for each of its differences."""
    names = [_kind_name(difference.kind) for difference in comparison.differences]
    if not comparison.was_compared:
        return names
    names.append(_COMPARED)
    if comparison.moved_on:
        names.append(_MOVED_ON)
    elif comparison.differences:
        names += [_DIFFERING, *([] if comparison.answered else [_UNANSWERED])]
    else:
        names.append(_AGREED)
    return names


def _kind_name(kind: Kind) -> str:
    return f"kind {kind.value}"


def _encoded(comparison: Comparison, difference: Difference, now_ms: int) -> str:
    enrolment = comparison.enrolment
    texts = (
        difference.kind.value,
        enrolment.user_id,
        enrolment.course_id,
        enrolment.batch_id,
        difference.activity_id,
        difference.expected,
        difference.found,
    )
    cut = [text if len(text) <= _LONGEST_KEPT else text[:_LONGEST_KEPT] + "…" for text in texts]
    return json.dumps([now_ms, *cut, comparison.answered])
