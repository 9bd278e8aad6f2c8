"""Reads the moments that operators name, a time or how long ago it was, and shows them times. Pure."""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

_AGO = re.compile(r"(\d+)\s*(s|m|h|d)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


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


def format_moment(moment_ms: int, *, exact: bool = False) -> str:
    """Write a time (ms since 1970) as operators read and give it: 2026-01-31T14:30:05Z; `exact` to the millisecond."""
    try:
        moment = datetime.fromtimestamp(moment_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        # what an event carries may lie beyond the year 9999
        return f"{moment_ms} ms"
    return f"{moment}.{moment_ms % 1000:03}Z" if exact else f"{moment}Z"


def format_span(span_ms: int) -> str:
    """Write how long something takes or is ago, in its largest whole unit and the next: 45 s, 3 m 20 s, 2 d 4 h."""
    seconds = max(0, span_ms) // 1000
    for (unit, size), (lower, part) in pairwise((("d", 86400), ("h", 3600), ("m", 60), ("s", 1))):
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            return f"{whole} {unit} {rest // part} {lower}" if rest >= part else f"{whole} {unit}"
    return f"{seconds} s"
