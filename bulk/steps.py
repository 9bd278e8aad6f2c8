"""Takes the steps of a run again while the ledger, the broker or Kafka is away, for as long as its patience lasts."""

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from bridge.dispatch import BrokerUnavailable
from reconciliation.errors import Interrupted, LedgerUnavailable, OutageError

#: How long a server that is away is waited for, in seconds.
PATIENCE = 600.0
_PAUSE = 0.5

T = TypeVar("T")


class Interruptible(Protocol):
    """An operator who may ask for an end: `commands.interruption.Interruption`."""

    is_asked: bool

    def pause(self, seconds: float) -> None:
        """Wait so long, or until it is asked for."""


class Insisting(Protocol):
    """Takes a step until it is done: `Steps.insist`."""

    def __call__(self, step: Callable[[], T], /) -> T:
        """Give what the step gives."""


def once(step: Callable[[], T]) -> T:
    """Take a step, and let its errors through."""
    return step()


class Steps:
    """The steps of one run.

    Args:
        interruption: says when to end.
        tell: takes the sentence that says what is waited for.
        patience: how long a server that is away is waited for, in seconds.

    """

    def __init__(self, interruption: Interruptible, tell: Callable[[str], object], patience: float = PATIENCE) -> None:
        self._interruption = interruption
        self._tell = tell
        self._patience = patience
        self._away_since: float | None = None

    def attempt(self, step: Callable[[], T]) -> T | None:
        """Take a step; gives None, after a pause, where a server is away. Raises its error once patience is at its end.

        A step may be taken again though a part of it was done.
        """
        try:
            done = step()
        except (LedgerUnavailable, BrokerUnavailable, OutageError) as error:
            now = time.monotonic()
            if self._away_since is None:
                self._away_since = now
            if now - self._away_since > self._patience:
                raise
            self._tell(str(error))
            self._interruption.pause(_PAUSE)
            return None
        self._away_since = None
        return done

    def insist(self, step: Callable[[], T], /) -> T:
        """Take a step until it is done. Raises Interrupted where an operator wants an end before, else as `attempt`."""
        taken: list[T] = []

        def take() -> bool:
            taken.append(step())
            return True

        while not self.attempt(take):
            if self._interruption.is_asked:
                raise Interrupted
        return taken[0]
