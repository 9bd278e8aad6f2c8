"""Submits a run's enrolments through the ledger, behind all clicks, and waits for their end (docs/bulk.md)."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from bulk.pace import SubmissionRate
from bulk.requests import bulk_request
from bulk.runs import DrivenRun, RunCounts, life_of
from bulk.steps import PATIENCE, Interruptible, Steps
from ledger.entries import Ticket
from ledger.ledger import Ledger
from reconciliation.model import EnrolmentKey

#: How many requests are accepted in one step of the ledger's Redis, which clicks wait for too.
_PORTION = 100
#: How long to wait for room, or for the last requests' end, before the next look, in seconds.
_POLL = 0.1
#: How often counts, pauses and the ledger's life are looked at, in seconds.
_LOOK_EVERY = 0.5
#: A run stops when more of its requests were given up, unless it is told another number.
USUAL_MOST_GIVEN_UP = 100


class TooManyGivenUp(Exception):
    """Raised when more of a run's requests were given up than it may have; one line for an operator."""


class LedgerForgot(Exception):
    """Raised when the ledger's Redis restarted or lost its data under a run; one line for an operator."""


T = TypeVar("T")


class Sender(Protocol):
    """Sends messages to workers: `bridge.dispatch.Dispatcher`."""

    def send(self, tickets: Sequence[Ticket]) -> None:
        """Send tickets. Raises BrokerUnavailable; what was sent before may be sent again."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How a run stands: its requests, and what it waits for, '' where it waits for nothing but their end."""

    counts: RunCounts
    waits_for: str


class Submission:
    """Submits the enrolments of one run.

    Args:
        ledger: what holds them.
        driven: the run, which this process drives.
        sender: where messages go.
        interruption: says when to end.
        rate: the most requests, and certificate events, in a second; None for as many as `bulk.max.open` allows.
        most_given_up: how many may be given up before the run stops; those that were given up before this process
            drove it do not count.
        tell: is told again and again how it stands.
        patience: how long a server that is away is waited for, in seconds.

    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        driven: DrivenRun,
        sender: Sender,
        interruption: Interruptible,
        rate: float | None = None,
        most_given_up: int = USUAL_MOST_GIVEN_UP,
        tell: Callable[[Progress], object] = lambda _: None,
        patience: float = PATIENCE,
    ) -> None:
        self._ledger = ledger
        self._driven = driven
        self._sender = sender
        self._interruption = interruption
        self._pace = SubmissionRate(rate, time.monotonic())
        self._most_given_up = most_given_up
        self._tell = tell
        self._steps = Steps(interruption, lambda why: tell(Progress(self._counts, why)), patience)
        self._look_at = 0.0
        self._counts = RunCounts()
        self._given_up_before: int | None = None

    def submit(self, enrolments: Sequence[EnrolmentKey]) -> bool:
        """Have all of these accepted and sent, in their order; says False where it was interrupted before.

        The same ones may be submitted again: those that are open are known. Raises TooManyGivenUp, LedgerForgot,
        RunRefused where another process drives the run, and LedgerUnavailable or BrokerUnavailable when that server is
        away for longer than the patience lasts.
        """
        at = 0
        while at < len(enrolments):
            size = self.portion(min(_PORTION, len(enrolments) - at))
            if size == 0:
                return False
            portion = enrolments[at : at + size]
            taken = self._steps.attempt(partial(self._take_in, portion)) or 0
            self.spend(taken)
            at += taken
            if taken < size:
                self._interruption.pause(_POLL)
        return True

    def portion(self, most: int) -> int:
        """Wait until some of `most` are within the rate; gives how many, 0 where an operator wants an end before.

        Raises RunRefused where another process drives the run.
        """
        while not self._interruption.is_asked:
            # a low rate makes a wait longer than the lease
            self._driven.keep()
            if size := self._pace.allowed(most, time.monotonic()):
                return size
            self._interruption.pause(min(self._pace.wait(), _POLL))
        return 0

    def spend(self, count: int) -> None:
        """Note that so many requests or certificate events have left: one rate is for both."""
        self._pace.spend(count)

    def insist(self, step: Callable[[], T], /) -> T:
        """Take another step of the run, again and again while a server is away.

        Raises Interrupted where an operator wants an end before it is done, RunRefused where another process drives the
        run, and the server's error once the patience is at its end.
        """

        def kept() -> T:
            # Kafka may be away for longer than the lease, while the ledger is there for another process to take the run
            self._driven.keep()
            return step()

        return self._steps.insist(kept)

    def wait_for_end(self) -> bool:
        """Wait until none of the run's requests is open; says False where it was interrupted before.

        What waits for a later try, for a pause's end or for a server is waited for as long as it takes. Raises as
        `submit` does.
        """
        while not self._interruption.is_asked:
            if self._steps.attempt(self._is_at_end):
                return True
            self._interruption.pause(_POLL)
        return False

    def _take_in(self, enrolments: Sequence[EnrolmentKey]) -> int:
        """Accept and send these as far as there is room; gives how many, from the first on."""
        if self._look() is None:
            return 0
        now_ms = time.time_ns() // 1_000_000
        requests = [bulk_request(self._driven.run.run_id, enrolment, now_ms) for enrolment in enrolments]
        acceptance = self._ledger.accept(requests)
        # after a failure here the same ones are accepted again, which gives the same tickets
        self._sender.send(acceptance.tickets)
        if acceptance.accepted < len(requests) and not acceptance.stopped:
            self._tell(Progress(self._counts, "room among what is open (bulk.max.open, ledger.max.open)"))
        return acceptance.accepted

    def _is_at_end(self) -> bool:
        # in this order: none is open in the life of the ledger that accepted them
        is_empty = self._driven.counts().open == 0
        self._look(is_due=is_empty)
        return is_empty

    def _look(self, *, is_due: bool = False) -> bool | None:
        """Look where everything stands, if that is due; gives None where nothing is to be submitted for now."""
        self._driven.keep()
        now = time.monotonic()
        if not is_due and now < self._look_at:
            return True
        identity = self._ledger.verify()
        if life_of(identity) != self._driven.life:
            raise LedgerForgot(
                "the ledger's Redis restarted or lost its data: requests of this run may be lost with it. Begin a new "
                "run over the same selection; what this one has done is found done"
            )
        self._counts = self._driven.counts()
        if self._given_up_before is None:
            self._given_up_before = self._counts.given_up
        given_up = self._counts.given_up - self._given_up_before
        if given_up > self._most_given_up:
            raise TooManyGivenUp(
                f"{given_up} of its requests were given up since it was begun or resumed, and {self._most_given_up} "
                "may be. `enrolment-reconciliation failed` tells why; once that is mended, `replay` has these tried "
                "again"
            )
        held_ms = self._ledger.failures_held_ms()
        waits_for = identity.stopped
        if not waits_for and held_ms > 0:
            waits_for = "too many requests were given up of late (failures.max.per.minute)"
        self._tell(Progress(self._counts, waits_for))
        if waits_for:
            return None
        self._look_at = now + _LOOK_EVERY
        return True
