"""Where each partition of ours stands: what is accepted, what is committed, and where to begin. Pure.

A partition is begun anew whenever it is assigned and whenever the ledger's Redis turns out to have forgotten something:
then from the oldest offset that was open, and everything that existed until now counts as repeated. Nothing is
committed on such a return before everything up to the old commit is in the ledger again, so that a bridge that dies
meanwhile returns once more. See docs/reliability.md, "What Redis must be".
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from bridge.marks import CommitMark, decode_mark
from ledger.ledger import Identity


@dataclass(frozen=True, slots=True)
class Committed:
    """What Kafka holds of our group for a partition: the next offset to read (None: nothing yet), and its metadata."""

    offset: int | None
    metadata: str | None


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a partition's records begin and end: the offset of the first, and the one that the next will get."""

    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Commit:
    """An offset to commit with its mark.

    `by_name` says that it may not lie beyond what Kafka's client takes for committed: either the offset stays and the
    mark is new, or Kafka has forgotten the group's commit, as it does with a topic that is made anew.
    """

    partition: int
    offset: int
    mark: CommitMark
    by_name: bool


@dataclass(slots=True)
class _Position:
    accepted: int | None
    committed: int | None
    mark: CommitMark | None
    repeated_below: int | None

    def is_marked_otherwise(self, identity: Identity) -> bool:
        if self.mark is None:
            # nothing of ours stands there, but an order to go back that was carried out is to be noted
            return identity.rewind != ""
        return self.mark.identity != identity


def is_to_rewind(committed: Committed, identity: Identity) -> bool:
    """Say whether an operator's order to go back has not reached this partition yet."""
    mark = decode_mark(committed.metadata)
    return identity.rewind not in ("", "" if mark is None else mark.identity.rewind)


class Positions:
    """The partitions that are begun, with their offsets."""

    def __init__(self) -> None:
        self._positions: dict[int, _Position] = {}

    def begin(
        self, partition: int, committed: Committed, identity: Identity, bounds: Bounds, rewound: int | None = None
    ) -> int:
        """Begin a partition; give the offset of the first record to read.

        That is where the group stands, or what was open then in a ledger that has been lost since, or `rewound`, to
        which an operator wants it to go back. A group that never committed begins at the first record, and so does one
        that stands beyond the end: the topic was made anew.
        """
        offset, mark = committed.offset, decode_mark(committed.metadata)
        if offset is not None and offset > bounds.end:
            offset, mark = None, None
        start, repeated_below = offset, None if mark is None else mark.repeated_below
        if offset is not None and mark is not None and not mark.identity.is_same_life(identity):
            repeated_below = bounds.end
            if mark.oldest is not None:
                start = min(mark.oldest, offset)
        if start is not None and rewound is not None:
            repeated_below, start = bounds.end, min(start, rewound)
        self._positions[partition] = _Position(start, offset, mark, repeated_below)
        # what Kafka has let go of can't be read any more
        return bounds.first if start is None else max(start, bounds.first)

    def goes_back(self, partition: int) -> bool:
        """Say whether a partition is read again from before its commit."""
        position = self._positions[partition]
        return (position.accepted or 0) < (position.committed or 0)

    def is_repeated(self, partition: int, offset: int) -> bool:
        """Say whether a record may have been answered before."""
        position = self._positions.get(partition)
        return position is not None and position.repeated_below is not None and offset < position.repeated_below

    def advance(self, accepted: Mapping[int, int]) -> None:
        """Note for partitions the first offset that is neither in the ledger nor done with."""
        for partition, offset in accepted.items():
            if partition in self._positions:
                self._positions[partition].accepted = offset

    def partitions(self) -> list[int]:
        """List the partitions that are begun."""
        return sorted(self._positions)

    def is_behind(self, identity: Identity) -> bool:
        """Say whether anything accepted is not committed yet, or is committed with the mark of another ledger."""
        return any(
            position.accepted is not None
            and (
                position.committed is None
                or position.accepted > position.committed
                or (position.accepted == position.committed and position.is_marked_otherwise(identity))
            )
            for position in self._positions.values()
        )

    def due(self, identity: Identity, oldest: Mapping[int, int | None], renew: bool) -> list[Commit]:
        """Give the commits to make now, for the partitions in `oldest` (each with its oldest open offset).

        A commit whose offset stays is due when its mark names another life of the ledger, and with `renew` also when
        its oldest offset is out of date.
        """
        commits = []
        for partition, oldest_open in oldest.items():
            position = self._positions.get(partition)
            if position is None or position.accepted is None or position.accepted < (position.committed or 0):
                continue
            repeated = position.repeated_below
            if repeated is not None and repeated <= position.accepted:
                repeated = None
            mark = CommitMark(identity, oldest_open, repeated)
            if position.committed is None or position.accepted > position.committed:
                commits.append(Commit(partition, position.accepted, mark, by_name=position.committed is None))
            elif position.is_marked_otherwise(identity) or (renew and position.mark not in (None, mark)):
                commits.append(Commit(partition, position.accepted, mark, by_name=True))
        return commits

    def committed(self, commits: Collection[Commit]) -> None:
        """Note that Kafka confirmed these commits."""
        for commit in commits:
            position = self._positions.get(commit.partition)
            if position is not None:
                position.committed, position.mark = commit.offset, commit.mark

    def drop(self, partitions: Collection[int]) -> None:
        """Forget partitions that are no longer ours, or that are to begin anew."""
        for partition in partitions:
            self._positions.pop(partition, None)
