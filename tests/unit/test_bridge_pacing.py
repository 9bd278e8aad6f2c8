"""When the bridge holds, tries again and says so."""

import pytest

from bridge.pacing import LONGEST_WAIT, LONGEST_WAIT_FULL, Ended, Hold, Pacing, Patience
from reconciliation.reminder import Reminder


def next_try(pacing: Pacing, now: float) -> float:
    """Find the time of the next try, to a hundredth of a second."""
    at = now
    while not pacing.may_try(at):
        at += 0.01
    return at


def test_nothing_held_may_always_try() -> None:
    assert Pacing().may_try(0.0)
    assert Pacing().well(0.0) is None


def test_waits_double_up_to_their_limit() -> None:
    pacing, now, waits = Pacing(), 100.0, []
    for _ in range(9):
        pacing.trouble(Hold.LEDGER_AWAY, now)
        waits.append(round(next_try(pacing, now) - now, 1))
        now += waits[-1]
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, LONGEST_WAIT, LONGEST_WAIT, LONGEST_WAIT]


@pytest.mark.parametrize("hold", [Hold.LEDGER_FULL, Hold.TOO_MANY_FAILURES, Hold.OFFSET_TAKEN, Hold.OPERATOR])
def test_what_no_server_is_to_blame_for_is_looked_at_more_often(hold: Hold) -> None:
    pacing = Pacing()
    for _ in range(20):
        pacing.trouble(hold, 0.0)
    assert not pacing.may_try(LONGEST_WAIT_FULL - 0.01)
    assert pacing.may_try(LONGEST_WAIT_FULL)


def test_another_reason_starts_with_short_waits_again() -> None:
    pacing = Pacing()
    for _ in range(9):
        pacing.trouble(Hold.LEDGER_AWAY, 0.0)
    pacing.trouble(Hold.BROKER_AWAY, 0.0)
    assert pacing.may_try(0.1)
    assert pacing.hold is Hold.BROKER_AWAY


def test_the_end_tells_how_long_it_lasted() -> None:
    pacing = Pacing()
    pacing.trouble(Hold.KAFKA_AWAY, 10.0)
    pacing.trouble(Hold.KAFKA_AWAY, 15.0)
    assert pacing.well(18.0) == Ended(Hold.KAFKA_AWAY, 8.0)
    assert pacing.hold is None
    assert pacing.may_try(18.0)


def test_a_reminder_comes_at_growing_intervals() -> None:
    reminder = Reminder(first=10, longest=40)
    told = [now for now in range(200) if reminder.due("away", now)]
    assert told == [0, 10, 30, 70, 110, 150, 190]
    assert reminder.due("something else", 200)
    reminder.reset()
    assert reminder.due("away", 200)


def test_a_client_that_answers_is_asked_at_intervals_and_never_replaced() -> None:
    patience = Patience(interval=10.0)
    asked = []
    for now in range(100):
        if patience.is_due(float(now)):
            asked.append(now)
            patience.answered(float(now))
    assert asked == [10, 20, 30, 40, 50, 60, 70, 80, 90]


def test_a_silent_client_is_replaced_less_and_less_often_until_one_answers() -> None:
    patience = Patience(interval=10.0, first=20.0, longest=50.0)
    replaced = [now for now in range(300) if patience.is_due(float(now)) and patience.is_over(float(now))]
    # first asked at 10; then 20, 40, 50, 50 ... seconds of silence
    assert replaced == [30, 70, 120, 170, 220, 270]
    patience.answered(300.0)
    replaced = [now for now in range(300, 400) if patience.is_due(float(now)) and patience.is_over(float(now))]
    assert replaced == [330, 370]


def test_an_answer_between_two_silences_begins_anew() -> None:
    patience = Patience(interval=10.0, first=20.0)
    assert not patience.is_over(10.0)
    patience.answered(25.0)
    assert not patience.is_over(40.0)
    assert patience.is_over(60.0)
