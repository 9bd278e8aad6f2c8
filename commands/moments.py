"""Reads the moments that operators name, a time or how long ago it was, and shows them times. Pure."""

import re
from datetime import UTC, datetime, timedelta

_AGO = re.compile(r"(\d+)\s*(s|m|h|d)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LENGTHS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def parse_moment(text: str, now: datetime) -> datetime:
    """Read `2026-01-31T14:30`, with or without a zone (UTC then), or `90m`, `2h`, `3d` before `now`.

    Raises ValueError with what is allowed, also for a moment that lies in the future.
    """
    ago = _AGO.fullmatch(text.strip())
    if ago is not None:
        moment = now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    else:
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError:
            raise ValueError(
                f"{text!r} is no moment: allowed are a time such as 2026-01-31T14:30 (UTC unless it names a zone), "
                "or how long ago it was, such as 90m, 2h or 3d"
            ) from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
    if moment > now:
        raise ValueError(f"{text!r} lies in the future: it is {now.isoformat(timespec='seconds')}")
    return moment


def shown_length(seconds: float) -> str:
    """Show a length of time in its two largest units, such as `2 h 5 min`."""
    left = max(0, round(seconds))
    parts: list[str] = []
    for unit, length in _LENGTHS:
        count, left = divmod(left, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def shown_time(moment_ms: int) -> str:
    """Show a time, in ms since 1970, to the second in UTC."""
    return datetime.fromtimestamp(moment_ms / 1000, UTC).isoformat(timespec="seconds")
