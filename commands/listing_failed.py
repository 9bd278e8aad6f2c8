"""`failed`: what lies on the failed topic."""

import heapq
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import click

from commands.endings import told
from commands.failure_options import selected, selection, selection_options, span_of
from commands.failures import Carried, Failure, Summary
from commands.moments import format_moment, format_span
from commands.retention import Retention, read_retentions
from commands.servers import read_kafka, read_settings
from commands.terminal import console, examples, json_option, print_json, print_json_line, table
from commands.topics import failed_topic
from reconciliation.model import Origin

#: How many events a table lists unless told otherwise.
_LISTED = 100


@click.command(
    epilog=examples(
        "failed",
        "failed --list --reason RELATIONS_MISSING --since 2h",
        "failed --list --user 8454cb21-3ce9-4e30-85b5-fade097880d8",
        "failed --list --json > failed.jsonl",
    )
)
@selection_options
@click.option("--list", "listing", is_flag=True, help="List the events, the latest first.")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    metavar="N",
    help=f"List the latest N at most; without it {_LISTED}, and all of them as JSON.",
)
@json_option
@told
def failed(listing: bool, limit: int | None, as_json: bool, **options: Any) -> None:
    """Say what lies on kafka.output.failed.topic: how many events for each reason, and since when.

    The topic is read as far as it reaches now. JSON is one summary, or with --list an object a line.
    """
    settings, wanted = read_settings(), selection(**options)
    topic, now_ms = failed_topic(settings), time.time_ns() // 1_000_000
    summary = Summary()
    with read_kafka(settings) as kafka:
        events = _counted(selected(kafka, span_of(kafka, topic, wanted), wanted, "reading failed events"), summary)
        if listing and as_json and limit is None:
            for failure in events:
                print_json_line(_described(failure, now_ms))
            return
        latest = _latest(events, (limit or _LISTED) if listing else 0)
    if listing and as_json:
        for failure in latest:
            print_json_line(_described(failure, now_ms))
        return
    (retention,) = read_retentions(settings, [topic.name])
    if as_json:
        print_json(_summary(topic.name, summary, retention))
        return
    if summary.total.events == 0:
        click.echo(f"{topic.name}: no event" + ("" if wanted.is_everything else " that fits"))
        return
    click.echo(topic.name)
    console().print(_summary_table(summary, now_ms))
    if listing:
        console().print(_list_table(latest, settings.kafka_input_topic, now_ms))
        if len(latest) < summary.total.events:
            click.echo(f"the latest {len(latest)} of {summary.total.events}; --limit or --json give more")
    click.echo(_told_retention(summary, retention, now_ms))


def _counted(events: Iterable[Failure], summary: Summary) -> Iterator[Failure]:
    for failure in events:
        summary.add(failure)
        yield failure


def _latest(events: Iterable[Failure], most: int) -> list[Failure]:
    """Go through all events and keep those that failed last, the latest first."""

    def age(failure: Failure) -> tuple[int, int, int]:
        return failure.failed_ms, failure.record.origin.partition, failure.record.origin.offset

    if not most:
        deque(events, maxlen=0)
        return []
    return heapq.nlargest(most, (failure.without_value() for failure in events), key=age)


def _summary_table(summary: Summary, now_ms: int) -> Any:
    rows = [
        (reason, count.events, _when(count.oldest_ms, now_ms), _when(count.newest_ms, now_ms))
        for reason, count in [*summary.rows(), ("all", summary.total)]
    ]
    return table(["reason", "events", "oldest", "newest"], rows)


def _list_table(failures: Iterable[Failure], usual_topic: str, now_ms: int) -> Any:
    rows = [
        (
            f"{format_span(now_ms - failure.failed_ms)} ago",
            failure.reason,
            "" if failure.attempts is None else failure.attempts,
            failure.user_id or "",
            failure.course_id or "",
            failure.batch_id or "",
            _told_origin(failure, usual_topic),
            failure.error if failure.carried is Carried.FIELDS else f"{failure.error} ({_told_original(failure)})",
        )
        for failure in failures
    ]
    return table(["failed", "reason", "attempts", "user", "course", "batch", "original", "error"], rows)


def _told_original(failure: Failure) -> str:
    if failure.carried is Carried.CUT:
        return f"cut: {failure.size} bytes, and only the start is left"
    if failure.carried in (Carried.TEXT, Carried.BYTES):
        return f"the original {failure.carried}: {failure.start}"
    return str(failure.carried)


def _told_origin(failure: Failure, usual_topic: str) -> str:
    """Give the place that the request had; its topic is told where it is another than the input topic is now."""
    origin = failure.origin
    if origin is None:
        return ""
    place = f"{origin.partition}@{origin.offset}"
    told = place if origin.topic == usual_topic else f"{origin.topic}/{place}"
    return f"{told} (sent again)" if failure.is_replay else told


def _when(moment_ms: int, now_ms: int) -> str:
    return f"{format_moment(moment_ms)} ({format_span(now_ms - moment_ms)} ago)"


def _told_retention(summary: Summary, retention: Retention, now_ms: int) -> str:
    if retention.problem:
        return f"how long the topic keeps them is not known: {retention.problem}"
    if retention.keeps_ms is None or summary.earliest_ms is None:
        return "the topic keeps them for ever (retention.ms, cleanup.policy)"
    ends_ms = summary.earliest_ms + retention.keeps_ms
    kept = f"retention.ms is {format_span(retention.keeps_ms)}"
    if ends_ms <= now_ms:
        return f"the oldest of these may be dropped at any moment: {kept}, over since {format_moment(ends_ms)}"
    return (
        f"the oldest of these is dropped from {format_moment(ends_ms)} on, in {format_span(ends_ms - now_ms)}: {kept}"
    )


def _summary(topic: str, summary: Summary, retention: Retention) -> dict[str, object]:
    ends_ms = None
    if retention.keeps_ms is not None and summary.earliest_ms is not None:
        ends_ms = summary.earliest_ms + retention.keeps_ms
    return {
        "topic": topic,
        "events": summary.total.events,
        "reasons": [
            {"reason": reason, "events": count.events, "oldest": count.oldest_ms, "newest": count.newest_ms}
            for reason, count in summary.rows()
        ],
        "retentionMs": retention.keeps_ms,
        "oldestIsDroppedFrom": ends_ms,
    }


def _described(failure: Failure, now_ms: int) -> dict[str, object]:
    place = failure.record.origin
    return {
        "reason": failure.reason,
        "error": failure.error,
        "attempts": failure.attempts,
        "failedAt": failure.failed_ms,
        "ageSeconds": max(0, now_ms - failure.failed_ms) // 1000,
        "user": failure.user_id,
        "course": failure.course_id,
        "batch": failure.batch_id,
        "original": _json_place(failure.origin),
        "firstSent": _json_place(failure.first) if failure.is_replay else None,
        "carried": failure.carried.name.lower(),
        "start": failure.start,
        "size": failure.size,
        "place": _json_place(place),
    }


def _json_place(origin: Origin | None) -> dict[str, object] | None:
    if origin is None:
        return None
    return {
        "topic": origin.topic,
        "partition": origin.partition,
        "offset": origin.offset,
        "timestamp": origin.timestamp_ms,
    }
