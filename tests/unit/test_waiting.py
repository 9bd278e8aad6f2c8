"""How often a condition is looked at while it is waited for."""

import pytest

from tests.support.waiting import pause_after, wait_until


@pytest.mark.parametrize(
    ("look", "waited", "pause"),
    [
        (0.0, 0.0, 0.03),
        (0.001, 0.2, 0.03),
        (0.0, 1.0, 0.1),
        # a scrape
        (0.007, 0.1, 0.07),
        (0.001, 30.0, 0.25),
        (2.0, 2.0, 0.25),
    ],
)
def test_looks_grow_rarer_the_longer_they_take_and_the_longer_one_waits(
    look: float, waited: float, pause: float
) -> None:
    assert pause_after(look, waited) == pytest.approx(pause)


def test_what_is_so_at_once_is_not_waited_for() -> None:
    assert wait_until("it is so", lambda: "seen", limit=0) == "seen"


def test_what_does_not_come_is_named_with_what_was_seen_last() -> None:
    with pytest.raises(AssertionError, match=r"the end: not within 0 s \(last seen: \[\]\)"):
        wait_until("the end", list, limit=0.0)
