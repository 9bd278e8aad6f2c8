"""What was taken from Kafka and is not committed yet, sorted into what is to be done with it. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from reconciliation.errors import InvalidRequest
from reconciliation.model import FinalFailure, Record, SyncRequest
from reconciliation.requests import Skip, parse

Work = SyncRequest | FinalFailure | None


def sort_record(record: Record, repeated: bool, now_ms: int, *, batch_sync: bool = False) -> Work:
    """Say what is to be done with a record: accept a request, report a failure, or nothing where it is not ours.

    `repeated` marks a request that may have been answered before; `now_ms` is the time of a failure; `batch_sync` is as
    `requests.parse` takes it.
    """
    try:
        parsed = parse(record, batch_sync=batch_sync)
    except InvalidRequest as error:
        return FinalFailure(error.code, str(error), attempts=1, failed_at_ms=now_ms)
    if isinstance(parsed, Skip):
        return None
    return replace(parsed, repeated=True) if repeated else parsed


@dataclass(slots=True)
class _Item:
    record: Record
    work: Work
    done: bool


class Backlog:
    """The records in hand, in the order in which they came. Small: the bridge takes no more while it is full."""

    def __init__(self) -> None:
        self._items: list[_Item] = []

    def __len__(self) -> int:
        return len(self._items)

    def add(self, record: Record, work: Work) -> None:
        """Append a record with what is to be done with it."""
        self._items.append(_Item(record, work, done=work is None))

    def requests(self) -> list[SyncRequest]:
        """Give the requests that are not accepted yet, in their order."""
        return [item.work for item in self._items if isinstance(item.work, SyncRequest) and not item.done]

    def failures(self) -> list[tuple[Record, FinalFailure]]:
        """Give the records that can't be requests and whose failed events are not confirmed yet."""
        return [
            (item.record, item.work) for item in self._items if isinstance(item.work, FinalFailure) and not item.done
        ]

    def done(self, records: Collection[Record]) -> None:
        """Note that these records owe the bridge nothing more."""
        places = {(record.origin.partition, record.origin.offset) for record in records}
        for item in self._items:
            if (item.record.origin.partition, item.record.origin.offset) in places:
                item.done = True

    def shed(self) -> Mapping[int, int]:
        """Let go, in each partition, of what precedes the first record that is not done.

        Gives for each partition that got on the offset that follows; what lies behind an open record stays.
        """
        ahead: dict[int, int] = {}
        stopped: set[int] = set()
        kept = []
        for item in self._items:
            origin = item.record.origin
            if item.done and origin.partition not in stopped:
                ahead[origin.partition] = origin.offset + 1
            else:
                stopped.add(origin.partition)
                kept.append(item)
        self._items = kept
        return ahead

    def drop(self, partitions: Collection[int]) -> None:
        """Forget everything of these partitions; whoever owns them reads it again."""
        self._items = [item for item in self._items if item.record.origin.partition not in partitions]
