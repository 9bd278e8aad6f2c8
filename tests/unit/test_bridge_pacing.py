"""When the bridge holds, tries again and says so."""

from bridge.pacing import LONGEST_WAIT, LONGEST_WAIT_FULL, Ended, Hold, Pacing, Reminder


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


def test_a_full_ledger_is_looked_at_more_often() -> None:
    pacing = Pacing()
    for _ in range(20):
        pacing.trouble(Hold.LEDGER_FULL, 0.0)
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
