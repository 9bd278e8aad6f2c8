"""Attempts a bulk run's group a few at a time while clicks come, with a rest after each few (docs/bulk.md).

A thread that works on a run shares interpreter, processor and Cassandra with the clicks beside it.
"""

import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from ledger.entries import Ticket
from tasks.summary import Summary

#: How many requests of a run are attempted together while clicks come.
PORTION = 10
#: The longest rest, in seconds: after a slow portion the message must not stay in hand for minutes.
LONGEST_REST = 1.0

#: Attempts what tickets name: `tasks.attempts.AttemptRunner.run` for one message. Raises LedgerUnavailable.
Attempt: TypeAlias = Callable[[Sequence[Ticket]], Summary]


def attempt_in_portions(
    tickets: Sequence[Ticket],
    attempt: Attempt,
    *,
    percent: int,
    clicks_come: Callable[[], bool],
    rest: Callable[[float], object],
    clock: Callable[[], float] = time.monotonic,
) -> Summary:
    """Attempt a run's tickets in their order, all that are left at once wherever no click comes.

    Args:
        tickets: a message's.
        attempt: attempts some of them. What it raises ends this; the tickets that are left are the sweep's.
        percent: how much of the time is worked while clicks come, from 1 to 100.
        clicks_come: says whether they do.
        rest: waits so many seconds, or until the worker is to end.
        clock: tells the time in seconds, from any moment on.

    """
    summary, at = Summary(), 0
    while at < len(tickets):
        portion = tickets[at : at + PORTION] if clicks_come() else tickets[at:]
        began = clock()
        summary += attempt(portion)
        at += len(portion)
        if clicks_come():
            # after the last one too: the run's next message comes when this one is acknowledged
            rest(min(LONGEST_REST, (clock() - began) * (100 - percent) / percent))
    return summary
