"""The options that pick failed events, and how those are brought from Kafka: what `failed` and `replay` share."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TypeVar

import click

from commands.failures import Failure, Selection, read_failure
from commands.options import MOMENT, MOMENT_HELP, enrolment_options
from commands.progress import Progress
from commands.topics import KafkaReader, Span, Topic

# An event leaves for the topic after its failure, and clocks differ: reading begins so much earlier than what is asked.
_SLACK_MS = 600_000

F = TypeVar("F", bound=Callable[..., None])


def selection_options(command: F) -> F:
    """Add the options that pick failed events; `selection` makes a Selection of their arguments."""
    command = enrolment_options(required=False)(command)
    for option, what in (("--until", "Not those that failed after"), ("--since", "Not those that failed before")):
        command = click.option(option, type=MOMENT, metavar="MOMENT", help=f"{what}: {MOMENT_HELP}.")(command)
    return click.option(
        "--reason",
        "reasons",
        multiple=True,
        metavar="CODE",
        help="Only those given up for this reason (failInfo.errorCode); may be repeated.",
    )(command)


def selection(
    reasons: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    *,
    user_id: str | None,
    course_id: str | None,
    batch_id: str | None,
) -> Selection:
    """Make a Selection of what the options gave."""
    return Selection(
        reasons=frozenset(reason.upper() for reason in reasons),
        since_ms=None if since is None else round(since.timestamp() * 1000),
        until_ms=None if until is None else round(until.timestamp() * 1000),
        user_id=user_id,
        course_id=course_id,
        batch_id=batch_id,
    )


def span_of(kafka: KafkaReader, topic: Topic, wanted: Selection) -> Span:
    """Ask where on the failed topic the selected events can lie now."""
    return kafka.span(topic, None if wanted.since_ms is None else max(0, wanted.since_ms - _SLACK_MS))


def selected(kafka: KafkaReader, span: Span, wanted: Selection, title: str) -> Iterator[Failure]:
    """Read the selected events one by one, those of a partition in their order, and show how far it is."""
    with Progress(title, len(span)) as progress:
        for record in kafka.read(span, passed=progress.advance):
            failure = read_failure(record)
            if wanted.admits(failure):
                yield failure
