"""What operators may write for a moment, and how times are shown to them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from commands.moments import parse_moment, shown_length, shown_time

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31T11:30", datetime(2026, 1, 31, 11, 30, tzinfo=UTC)),
        (" 2026-01-30 ", datetime(2026, 1, 30, tzinfo=UTC)),
        ("2026-01-31T11:30+05:30", datetime(2026, 1, 31, 11, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))),
        ("90s", NOW - timedelta(seconds=90)),
        ("90m", NOW - timedelta(minutes=90)),
        ("2h", NOW - timedelta(hours=2)),
        ("3 d", NOW - timedelta(days=3)),
    ],
)
def test_a_moment_is_read(text: str, moment: datetime) -> None:
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "2x", "-2h", "2026-13-01", "1.5h"])
def test_anything_else_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="allowed are a time such as"):
        parse_moment(text, NOW)


def test_a_moment_to_come_is_refused() -> None:
    with pytest.raises(ValueError, match="in the future"):
        parse_moment("2026-01-31T12:00:01", NOW)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (-3, "0 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (7_500, "2 h 5 min"),
        (604_800, "7 d"),
        (90_061, "1 d 1 h"),
    ],
)
def test_a_length_of_time_is_shown_in_two_units(seconds: float, shown: str) -> None:
    assert shown_length(seconds) == shown


def test_a_time_is_shown_in_utc() -> None:
    assert shown_time(1_700_000_000_999) == "2023-11-14T22:13:20+00:00"
