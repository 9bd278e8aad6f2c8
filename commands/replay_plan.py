"""Decides which failed events are sent back, before any is. Pure.

Small whatever lies on the topic: of an event that is picked its offset is kept, of one that can't be sent the reason,
for the first of them.
"""

import heapq
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from commands.failures import Carried, Failure, Selection
from reconciliation.errors import InvalidRequest
from reconciliation.model import Origin
from reconciliation.replays import replayed

#: How many of the events that can't be sent back are kept to be listed.
MOST_LISTED = 200


@dataclass(frozen=True, slots=True)
class Refused:
    """An event whose original can't be sent back, and why."""

    failure: Failure
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is sent back, and what is not.

    `offsets` gives the picked events' offsets on the failed topic by partition, in their order; `reasons` how many are
    picked by reason. Not sent: `repeats` of originals that are sent already, `left_out` for being invalid,
    `beyond` the limit, and those `refused_count` whose originals can't be had back, of which `refused` lists some.
    """

    offsets: Mapping[int, Sequence[int]]
    reasons: Mapping[str, int]
    repeats: int
    left_out: int
    beyond: int
    refused_count: int
    refused: tuple[Refused, ...]

    def __len__(self) -> int:
        return sum(len(offsets) for offsets in self.offsets.values())


class Planner:
    """Looks at the selected events one by one, those of a partition in their order, then gives the plan.

    Args:
        wanted: the selection that the events come from; invalid ones are left out unless it names their reason.
        topic: where they would be sent.
        limit: send no more than so many, those that failed first; None for all.

    """

    def __init__(self, wanted: Selection, topic: str, limit: int | None) -> None:
        self._wanted = wanted
        self._topic = topic
        self._limit = limit
        self._seen: dict[tuple[str, int], set[int]] = {}
        self._offsets: dict[int, array[int]] = {}
        self._reasons: Counter[str] = Counter()
        # the events that failed first, the latest of them on top
        self._first: list[tuple[int, int, int, str]] = []
        self._repeats = self._left_out = self._beyond = self._refused_count = 0
        self._refused: list[Refused] = []

    def look(self, failure: Failure) -> None:
        """Decide on one event."""
        if failure.reason == InvalidRequest.code and not self._wanted.names(InvalidRequest.code):
            self._left_out += 1
            return
        try:
            replayed(failure.record, self._topic)
        except InvalidRequest as error:
            why = "it is no failed event of this job" if failure.carried is Carried.FOREIGN else str(error)
            self._refused_count += 1
            if len(self._refused) < MOST_LISTED:
                self._refused.append(Refused(failure.without_value(), why))
            return
        if self._was_seen(failure.first):
            self._repeats += 1
            return
        place = failure.record.origin
        if self._limit is None:
            self._pick(place.partition, place.offset, failure.reason)
            return
        # turned round, since the heap has its smallest on top
        latest = (-failure.failed_ms, -place.partition, -place.offset, failure.reason)
        if len(self._first) < self._limit:
            heapq.heappush(self._first, latest)
        else:
            heapq.heappushpop(self._first, latest)
            self._beyond += 1

    def plan(self) -> Plan:
        """Give what was decided; to be called once, at the end."""
        for _, partition, offset, reason in sorted(self._first, key=lambda it: -it[2]):
            self._pick(-partition, -offset, reason)
        return Plan(
            offsets=self._offsets,
            reasons=dict(self._reasons.most_common()),
            repeats=self._repeats,
            left_out=self._left_out,
            beyond=self._beyond,
            refused_count=self._refused_count,
            refused=tuple(self._refused),
        )

    def _was_seen(self, first: Origin) -> bool:
        """Note that the request that was first sent here is picked; says whether it was before."""
        offsets = self._seen.setdefault((first.topic, first.partition), set())
        if first.offset in offsets:
            return True
        offsets.add(first.offset)
        return False

    def _pick(self, partition: int, offset: int, reason: str) -> None:
        self._offsets.setdefault(partition, array("q")).append(offset)
        self._reasons[reason] += 1


class Picked:
    """Recognises the events of a plan while their topic is read again, each partition in its order."""

    def __init__(self, plan: Plan) -> None:
        self._offsets = plan.offsets
        self._at = dict.fromkeys(plan.offsets, 0)

    def holds(self, origin: Origin) -> bool:
        """Say whether the event at this place on the failed topic is to be sent."""
        offsets, at = self._offsets.get(origin.partition), self._at.get(origin.partition, 0)
        if offsets is None:
            return False
        while at < len(offsets) and offsets[at] < origin.offset:
            # what was picked there is gone meanwhile
            at += 1
        self._at[origin.partition] = at
        return at < len(offsets) and offsets[at] == origin.offset
