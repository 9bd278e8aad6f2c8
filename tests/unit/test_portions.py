"""How a bulk run's group is attempted beside clicks."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from ledger.entries import Ticket
from reconciliation.errors import LedgerUnavailable
from tasks.portions import LONGEST_REST, PORTION, attempt_in_portions
from tasks.summary import Summary

TICKETS = [Ticket(str(number), 1) for number in range(2 * PORTION + 5)]


@dataclass
class Thread:
    """One whose attempts take some seconds, and to which a number of clicks come, one for each question."""

    seconds: float = 0.25
    come: list[bool] = field(default_factory=list)
    now: float = 0.0
    attempted: list[list[Ticket]] = field(default_factory=list)
    rests: list[float] = field(default_factory=list)

    def attempt(self, tickets: Sequence[Ticket]) -> Summary:
        self.attempted.append(list(tickets))
        self.now += self.seconds
        return Summary(done=len(tickets))

    def clicks_come(self) -> bool:
        return self.come.pop(0) if self.come else False

    def go(self, tickets: Sequence[Ticket], percent: int) -> Summary:
        return attempt_in_portions(
            tickets,
            self.attempt,
            percent=percent,
            clicks_come=self.clicks_come,
            rest=self.rests.append,
            clock=lambda: self.now,
        )


def test_without_clicks_a_group_is_attempted_at_once_and_nothing_rests() -> None:
    thread = Thread()
    assert thread.go(TICKETS, 20) == Summary(done=len(TICKETS))
    assert thread.attempted == [TICKETS]
    assert thread.rests == []


def test_beside_clicks_a_few_are_attempted_at_a_time_and_the_rest_of_the_time_is_the_clicks() -> None:
    thread = Thread(seconds=0.125, come=[True] * 6)
    assert thread.go(TICKETS, 20) == Summary(done=len(TICKETS))
    assert [len(it) for it in thread.attempted] == [PORTION, PORTION, 5]
    assert [it for portion in thread.attempted for it in portion] == TICKETS
    assert thread.rests == [0.5, 0.5, 0.5]


def test_once_clicks_cease_all_that_is_left_is_attempted() -> None:
    thread = Thread(come=[True, False])
    thread.go(TICKETS, 50)
    assert [len(it) for it in thread.attempted] == [PORTION, PORTION + 5]
    assert thread.rests == []


def test_a_click_that_comes_meanwhile_has_the_thread_rest_after_the_last_portion_too() -> None:
    thread = Thread(come=[False, True])
    thread.go(TICKETS, 50)
    assert thread.rests == [0.25]


def test_a_slow_portion_is_followed_by_no_endless_rest_and_a_whole_share_by_none() -> None:
    slow, whole = Thread(seconds=30, come=[True, True]), Thread(come=[True, True])
    slow.go(TICKETS[:1], 1)
    whole.go(TICKETS[:1], 100)
    assert (slow.rests, whole.rests) == ([LONGEST_REST], [0])


def test_what_an_attempt_raises_leaves_the_others() -> None:
    def fail(_tickets: Sequence[Ticket]) -> Summary:
        raise LedgerUnavailable("away")

    with pytest.raises(LedgerUnavailable):
        attempt_in_portions(TICKETS, fail, percent=20, clicks_come=lambda: True, rest=lambda _: None)


def test_no_ticket_is_nothing() -> None:
    assert Thread().go([], 20) == Summary()
