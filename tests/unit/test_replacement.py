"""When a process in which an attempt hangs is replaced, and when it is not."""

import threading

import pytest

from tests.support.threads import no_thread_starts
from worker.replacement import Replacement

LIMIT = 30.0


class Watched(Replacement):
    """Says that the process would run its command again, which no test outlives."""

    def __init__(self) -> None:
        super().__init__()
        self.is_again = threading.Event()

    def run_again(self) -> None:
        self.is_again.set()


def test_a_process_in_which_all_attempts_hang_is_replaced() -> None:
    replacement = Watched()
    replacement.want(lambda: True, 0.1)
    assert replacement.is_again.wait(LIMIT)
    assert replacement.is_wanted()


def test_a_process_that_an_operator_ends_is_not_replaced() -> None:
    replacement = Watched()
    assert not replacement.heard()
    replacement.want(lambda: True, 0.1)
    assert not replacement.is_wanted()
    assert not replacement.is_again.wait(0.5)


def test_where_no_thread_starts_nothing_is_wanted_and_the_next_wish_is_heard() -> None:
    replacement = Watched()
    with no_thread_starts("replacement") as refused, pytest.raises(RuntimeError):
        replacement.want(lambda: True, LIMIT)
    assert len(refused) == 1
    assert not replacement.is_wanted()

    replacement.want(lambda: True, LIMIT)

    assert replacement.is_again.wait(LIMIT)
    assert replacement.is_wanted()
