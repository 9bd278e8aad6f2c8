"""When a learner completed a course, by what they consumed (docs/courtesies.md, completedon). Pure."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import UTC, datetime

from reconciliation.model import COMPLETED, Completion, Consumption, Plan

#: What is older is no time of a completion but a counter, seconds for milliseconds, or an empty clock: 2000-01-01.
EARLIEST_MS = 946_684_800_000


def completion_time(at_ms: int | None = None, text: str | None = None) -> int | None:
    """Give when a content was completed, in ms since 1970: its timestamp, else its text, None where neither tells.

    A time before `EARLIEST_MS` tells nothing.
    """
    if at_ms is not None and at_ms >= EARLIEST_MS:
        return at_ms
    from_text_ms = None if text is None else _parsed(text.strip())
    return from_text_ms if from_text_ms is not None and from_text_ms >= EARLIEST_MS else None


def latest_completion(required: Collection[str], consumption: Iterable[Consumption], now_ms: int) -> int:
    """Give when the last of the required contents was completed, as far as that is known; now where it isn't.

    Never after `now_ms`: the clock that wrote it may be ahead of ours.
    """
    times = (
        row.completed_ms
        for row in consumption
        if row.completed_ms is not None and row.status == COMPLETED and row.content_id in required
    )
    return min(now_ms, max(times, default=now_ms))


def completed_anew(decided: Plan, now_ms: int) -> Plan | None:
    """Give a plan whose completion was announced before with now (ms) as its completedon; None where it writes none.

    With completedon from the consumption a completion that somebody set back is completed under the same time again,
    and is another completion all the same: under its old name nobody would announce it (docs/courtesies.md).
    """
    write = decided.enrolment
    if write is None or write.completed_on_ms is None:
        return None
    completion = Completion(write.enrolment, now_ms)
    return replace(decided, enrolment=replace(write, completed_on_ms=now_ms), completion=completion)


def _parsed(text: str) -> int | None:
    for parse in (_in_course_services_format, datetime.fromisoformat):
        try:
            moment = parse(text)
            zoned = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
            return round(zoned.timestamp() * 1000)
        except (ValueError, OverflowError):
            continue
    return None


def _in_course_services_format(text: str) -> datetime:
    # as in 2023-05-08 10:00:00:000+0000
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S:%f%z")
