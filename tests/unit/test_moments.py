"""What operators may write for a moment, and how times are shown to them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from commands.moments import format_moment, format_span, parse_moment

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
    ("moment_ms", "text"),
    [(0, "1970-01-01T00:00:00Z"), (1_683_556_693_275, "2023-05-08T14:38:13Z"), (10**17, "100000000000000000 ms")],
)
def test_a_moment_is_written_so_that_it_can_be_given_again(moment_ms: int, text: str) -> None:
    assert format_moment(moment_ms) == text


def test_a_moment_may_be_written_to_the_millisecond() -> None:
    assert format_moment(1_683_556_693_075, exact=True) == "2023-05-08T14:38:13.075Z"


@pytest.mark.parametrize(
    ("span_ms", "text"),
    [
        (-5, "0 s"),
        (999, "0 s"),
        (59_999, "59 s"),
        (60_000, "1 m"),
        (200_000, "3 m 20 s"),
        (3_600_000, "1 h"),
        (3_660_000, "1 h 1 m"),
        (604_800_000, "7 d"),
        (100 * 3_600_000, "4 d 4 h"),
    ],
)
def test_a_span_is_written_in_two_units(span_ms: int, text: str) -> None:
    assert format_span(span_ms) == text
