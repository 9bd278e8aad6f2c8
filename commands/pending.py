"""`pending`: what is open, what it waits for, and since when."""

from collections.abc import Callable, Sequence

import click

from commands.endings import told
from commands.moments import format_moment, format_span
from commands.options import enrolment_options
from commands.pausing import pause_as_json
from commands.servers import open_operations, read_settings
from commands.terminal import console, examples, json_option, print_json, printable, progress, table
from ledger.open_entries import MEANINGS, EntryState, OpenEntry, Survey
from ledger.pauses import Pause

_MOST_LISTED = 10_000


@click.command(
    epilog=examples(
        "pending",
        "pending --course do_21310287978188800014457 --state retrying --limit 100",
        "pending --reason RELATIONS_MISSING --no-ids --json",
    )
)
@enrolment_options(required=False)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([it.value for it in EntryState]),
    help="Only in this state; may be given repeatedly.",
)
@click.option("--reason", metavar="TEXT", help="Only where the reason contains this, in capitals or not.")
@click.option("--limit", type=click.IntRange(0, _MOST_LISTED), default=20, show_default=True, help="How many to list.")
@click.option("--ids/--no-ids", "with_ids", default=True, help="Whether learners' ids are shown; they are by default.")
@json_option
@told
def pending(
    user_id: str | None,
    course_id: str | None,
    batch_id: str | None,
    states: tuple[str, ...],
    reason: str | None,
    limit: int,
    with_ids: bool,
    as_json: bool,
) -> None:
    """Show what is open: how much in which state, and the oldest.

    An entry is one request, with those of the same enrolment that joined it (collapsed). It changes nothing, and reads
    page by page beside the work that goes on: what begins or ends meanwhile may be missing.
    """
    matches = _matcher(user_id, course_id, batch_id, states, reason)
    settings = read_settings()
    survey = Survey(limit)
    with open_operations(settings) as operations:
        now_ms, total, pauses = operations.now_ms(), operations.open_count(), operations.pauses()
        with progress("reading the ledger …"):
            for entry in operations.entries():
                if matches(entry):
                    survey.add(entry)
    if as_json:
        print_json(_as_json(survey, total, pauses, now_ms, with_ids=with_ids))
        return
    _show(survey, total, pauses, now_ms, with_ids=with_ids)


def entry_as_json(entry: OpenEntry, now_ms: int, *, with_ids: bool = True) -> dict[str, object]:
    """Give an entry for JSON: times in ms since 1970, the age in seconds."""
    return {
        "entry": entry.entry_id,
        "course": entry.enrolment.course_id,
        "batch": entry.enrolment.batch_id,
        **({"user": entry.enrolment.user_id} if with_ids else {}),
        "state": entry.state.value,
        "accepted_ms": entry.accepted_ms,
        "age_seconds": _seconds(now_ms - entry.accepted_ms),
        "attempts": entry.attempts,
        "waits": entry.waits,
        "crashes": entry.crashes,
        "cause": entry.cause,
        "reason": entry.reason,
        "owes_completion": entry.owes,
        "next_ms": entry.next_ms,
        "collapsed": entry.collapsed,
    }


def show_entries(entries: Sequence[OpenEntry], now_ms: int, *, with_ids: bool = True) -> None:
    """Print entries, a line each."""
    columns = ["entry", "course", "batch", *(["user"] if with_ids else []), "state", "age"]
    columns += ["attempts", "waits", "crashes", "collapsed", "next", "reason"]
    rows = [
        (
            entry.entry_id,
            entry.enrolment.course_id,
            entry.enrolment.batch_id,
            *([entry.enrolment.user_id] if with_ids else []),
            entry.state,
            format_span(now_ms - entry.accepted_ms),
            entry.attempts,
            entry.waits,
            entry.crashes,
            entry.collapsed,
            _shown_next(entry.next_ms, now_ms),
            _shown_reason(entry),
        )
        for entry in entries
    ]
    console().print(table(columns, rows))


def _matcher(
    user_id: str | None, course_id: str | None, batch_id: str | None, states: Sequence[str], reason: str | None
) -> Callable[[OpenEntry], bool]:
    """Say which entries are wanted; None and no states mean all."""
    text = None if reason is None else reason.casefold()

    def matches(entry: OpenEntry) -> bool:
        key = entry.enrolment
        return (
            user_id in (None, key.user_id)
            and course_id in (None, key.course_id)
            and batch_id in (None, key.batch_id)
            and (not states or entry.state.value in states)
            and (text is None or text in _shown_reason(entry).casefold())
        )

    return matches


def _as_json(survey: Survey, total: int, pauses: Sequence[Pause], now_ms: int, *, with_ids: bool) -> dict[str, object]:
    oldest_ms = survey.oldest_ms
    return {
        "open_requests": total,
        "matching": {"entries": survey.entries, "requests": survey.requests},
        "by_state": {state.value: survey.by_state[state] for state in EntryState},
        "oldest_accepted_ms": oldest_ms,
        "oldest_age_seconds": None if oldest_ms is None else _seconds(now_ms - oldest_ms),
        "paused": [pause_as_json(pause) for pause in pauses],
        "entries": [entry_as_json(entry, now_ms, with_ids=with_ids) for entry in survey.oldest()],
    }


def _show(survey: Survey, total: int, pauses: Sequence[Pause], now_ms: int, *, with_ids: bool) -> None:
    for pause in pauses:
        click.echo(printable(str(pause)))
    requests = "1 request is" if total == 1 else f"{total} requests are"
    entries = "1 entry" if survey.entries == 1 else f"{survey.entries} entries"
    click.echo(f"{requests} open; {survey.requests} match, in {entries}")
    if survey.oldest_ms is None:
        return
    age = format_span(now_ms - survey.oldest_ms)
    click.echo(f"the oldest was accepted {age} ago, {format_moment(survey.oldest_ms)}")
    rows = [(state, survey.by_state[state], MEANINGS[state]) for state in EntryState if survey.by_state[state]]
    console().print(table(["state", "entries", "meaning"], rows))
    oldest = survey.oldest()
    if oldest:
        show_entries(oldest, now_ms, with_ids=with_ids)
    if len(oldest) < survey.entries:
        click.echo(f"{survey.entries - len(oldest)} younger ones are not listed (--limit)")


def _seconds(length_ms: int) -> float:
    return round(length_ms / 1000, 1)


def _shown_next(next_ms: int | None, now_ms: int) -> str:
    if next_ms is None:
        return ""
    return f"in {format_span(next_ms - now_ms)}" if next_ms > now_ms else "now"


def _shown_reason(entry: OpenEntry) -> str:
    if entry.reason.startswith(entry.cause):
        return entry.reason
    return f"{entry.cause}; {entry.reason}" if entry.reason else entry.cause
