"""Keeps bulk runs behind clicks in a worker: whether clicks come, and which queue it asks next (docs/bulk.md).

A run's tasks on all threads would leave a click none, and a small share of the interpreter when one is free. So a run
has few threads alone; while no click comes at all, it has all but one. Where the broker is Redis, kombu asks for one
message of several queues at a time (kombu/transport/redis.py, Channel._brpop_start), in an order that an object like
ClicksFirst gives it (kombu/utils/scheduling.py, round_robin_cycle). RabbitMQ hands messages out by itself: there it is
seen whether clicks come, and no more.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

#: How long a question to Redis waits for a message while a run is worked on, in seconds. The runs' queue is left out of
#: it while their threads are busy, and can be asked only with the next. Where nothing else wakes it, Redis looks at
#: such limits ten times a second (its setting hz; 101 ms with Redis 6.2).
SHORT_WAIT = 0.05
#: After so many questions in a row without a run's message in hand they wait as long as they did.
_QUIET = 40
#: How long after a click a run stays behind, in seconds: where clicks come at all, more will.
CLICKS_LINGER = 5.0


class ClicksSeen:
    """Whether clicks come to this process. Noted by Celery's consuming thread, asked by any.

    Args:
        clock: tells the time in seconds, from any moment on.

    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: float | None = None

    def note(self) -> None:
        """Note that a click's message has come."""
        self._until = self._clock() + CLICKS_LINGER

    def come(self) -> bool:
        """Say whether one has come of late."""
        return self._until is not None and self._clock() < self._until


#: Of this process. The children of a pool of processes see none.
CLICKS = ClicksSeen()


class ClicksFirst:
    """Gives the queues in the order of their names, clicks first, and leaves the runs' out while it has enough of them.

    All calls come from Celery's consuming thread.

    Args:
        channel: kombu's of Redis, whose questions these are.
        bulk_queue: the runs' queue.
        most: how many of its messages may be in hand at once while clicks come.
        most_without: how many may be while none does.
        clicks: tells whether they do.

    """

    def __init__(self, channel: Any, bulk_queue: str, most: int, most_without: int, clicks: ClicksSeen) -> None:
        self._channel = channel
        self._bulk_queue = bulk_queue
        self._most = most
        self._most_without = max(most, most_without)
        self._clicks = clicks
        self._usual_wait = channel.brpop_timeout
        self._quiet = 0
        self._queues: list[str] = sorted(channel.active_queues)

    def update(self, queues: Iterable[str]) -> None:
        """Take over which queues are consumed from."""
        self._queues = sorted(queues)

    def consume(self, count: int) -> list[str]:
        """Give the queues to ask now, at most `count` of them."""
        in_hand = self._in_hand()
        self._quiet = 0 if in_hand else self._quiet + 1
        if self._quiet == _QUIET:
            self._channel.brpop_timeout = self._usual_wait
        most = self._most if self._clicks.come() else self._most_without
        if in_hand < most or self._queues == [self._bulk_queue]:
            return self._queues[:count]
        return [queue for queue in self._queues if queue != self._bulk_queue]

    def rotate(self, last_used: str) -> str:
        """Leave the order as it is."""
        return last_used

    def took(self, queue: object) -> None:
        """Note that a message of this queue has come, before the next question is put."""
        if queue == self._bulk_queue:
            self._channel.brpop_timeout = SHORT_WAIT

    def _in_hand(self) -> int:
        """Count the runs' messages that are not acknowledged yet; other threads only mark what they acknowledge."""
        qos = self._channel.qos
        return sum(
            message.delivery_info.get("routing_key") == self._bulk_queue
            for tag, message in qos._delivered.items()  # noqa: SLF001 - what kombu's own bound on them counts (can_consume)
            if tag not in qos._dirty  # noqa: SLF001 - as above
        )
