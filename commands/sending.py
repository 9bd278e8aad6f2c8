"""Sends many events to Kafka, some at a time, each confirmed before the next ones follow."""

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from commands.interruption import Interruption
from reconciliation.errors import ReconciliationError
from reconciliation.model import Origin, OutgoingEvent
from reconciliation.publisher import EventPublisher

_LARGEST_BATCH = 500
# A rate is kept in portions of this part of a second.
_PORTIONS_A_SECOND = 4

T = TypeVar("T")


def send_in_batches(
    publisher: EventPublisher,
    events: Iterable[tuple[T, OutgoingEvent]],
    interruption: Interruption,
    rate: int | None = None,
) -> Iterator[list[tuple[T, Origin | ReconciliationError]]]:
    """Send events, each with what the caller knows it by; gives batch by batch where each lies, or why it does not.

    It ends early after the batch in hand when it is interrupted; that takes kafka.timeout at most. `rate` is the most
    events in a second. Who sees PublishFailed had better not go on.
    """
    size = _LARGEST_BATCH if rate is None else max(1, min(_LARGEST_BATCH, rate // _PORTIONS_A_SECOND))
    remaining, began, sent = iter(events), time.monotonic(), 0
    while not interruption.is_asked and (batch := list(islice(remaining, size))):
        reports = publisher.place([event for _, event in batch])
        yield [(known, report) for (known, _), report in zip(batch, reports, strict=True)]
        sent += len(batch)
        if rate is not None:
            interruption.pause(began + sent / rate - time.monotonic())
