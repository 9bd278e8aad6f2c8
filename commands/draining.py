"""`drain`: empties ledger and queue before Redis or the broker is moved."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import click

from commands.endings import NotDone, ServerAway, told
from commands.moments import format_span
from commands.servers import open_operations, read_settings
from commands.terminal import console, examples, json_option, print_json, printable, progress, table
from ledger.open_entries import Survey
from ledger.operations import Operations
from ledger.pauses import DRAIN, EVERYTHING
from reconciliation.errors import LedgerUnavailable

#: How often it looks how much is open, and how often at what that waits for, in seconds.
_LOOKS_EVERY = 0.5
_SURVEYS_EVERY = 5.0
#: How many kinds of what is left are listed.
_MOST_KINDS = 20

_STOPPED = "acceptance stays stopped until `enrolment-reconciliation resume`"


@dataclass(slots=True)
class _Watch:
    """Looks at what is left until it is nothing or the time is over."""

    operations: Operations
    queue_length: Callable[[], int]
    open: int = 0
    messages: int = 0
    survey: Survey = field(default_factory=lambda: Survey(0))
    is_late_told: bool = False

    def wait(self, limit: float) -> bool:
        """Wait up to `limit` seconds until nothing is left; says whether it is so."""
        began = time.monotonic()
        surveyed_at = -_SURVEYS_EVERY
        with progress("draining …") as tell:
            while True:
                self.open, self.messages = self.operations.open_count(), self.queue_length()
                if self.open == 0 and self.messages == 0:
                    return True
                passed = time.monotonic() - began
                if passed >= limit:
                    self.look()
                    return False
                if passed - surveyed_at >= _SURVEYS_EVERY:
                    self.look()
                    self.tell_late(limit - passed)
                    surveyed_at = time.monotonic() - began
                tell(f"{self.described()} ({format_span(round((limit - passed) * 1000))} left)")
                time.sleep(min(_LOOKS_EVERY, limit - passed))

    def look(self) -> None:
        """Look at what each open entry waits for."""
        self.survey = Survey(0)
        for entry in self.operations.entries():
            self.survey.add(entry)

    def tell_late(self, left: float) -> None:
        """Say once what waits for a time that lies beyond the `left` seconds."""
        ends_ms = self.operations.now_ms() + left * 1000
        late = {course: at for (_, course, _), at in self.survey.latest_next_ms.items() if at > ends_ms}
        if not late or self.is_late_told:
            return
        self.is_late_told = True
        course, at = max(late.items(), key=lambda it: it[1])
        beyond = format_span(round(at - ends_ms + left * 1000))
        click.echo(
            printable(f"note: requests of course {course} wait for a try in {beyond}, and nothing hurries them"),
            err=True,
        )

    def described(self) -> str:
        """Say in one line what is left."""
        text = f"{self.open} open, {self.messages} messages on the queue"
        if self.open and self.survey.oldest_ms is not None:
            age_ms = self.operations.now_ms() - self.survey.oldest_ms
            text += f"; the oldest since {format_span(age_ms)}"
        if self.open and self.survey.by_cause:
            ((state, course, cause), count), *_ = self.survey.by_cause.most_common(1)
            text += f"; most: {count} {state} of course {course}{f', {cause}' if cause else ''}"
        return text


@click.command(epilog=examples("drain", "drain --timeout 3600"))
@click.option(
    "--timeout",
    type=click.FloatRange(0, 86_400),
    default=600,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the end of what is open.",
)
@json_option
@told
def drain(timeout: float, as_json: bool) -> None:
    """Stop acceptance and wait until nothing is open, before Redis or the broker is moved.

    Bridges take nothing more from Kafka, which keeps what comes; workers go on with what is open, and bridges with what
    is due, so let both run. Nothing is hurried: what waits for a later try waits for it. Acceptance stays stopped,
    however this ends, until `resume`.
    """
    from commands.broker_queue import open_queue  # noqa: PLC0415 - Celery takes a second to load, for this command alone

    settings = read_settings()
    queue_opened = open_queue([settings.kafka_group_id, settings.bulk_queue], settings.redis_timeout)
    with open_operations(settings) as operations, queue_opened as queue:
        # before anything is stopped: a broker that can't be asked is told of at once
        queue.length()
        pauses = operations.pauses()
        if any(pause.scope == EVERYTHING for pause in pauses):
            raise NotDone(
                "everything is paused, so nothing that is open can end: first `enrolment-reconciliation resume`"
            )
        if operations.pause([DRAIN], ""):
            raise NotDone("there are too many pauses: end some with `enrolment-reconciliation resume --course ID`")
        for pause in pauses:
            if pause.scope != DRAIN:
                click.echo(printable(f"note: {pause}; its requests stay open"), err=True)
        watch = _Watch(operations, queue.length)
        try:
            is_empty = watch.wait(timeout)
        except (LedgerUnavailable, ServerAway):
            click.echo(f"note: {_STOPPED}", err=True)
            raise
        except KeyboardInterrupt:
            raise NotDone(f"interrupted, {watch.described()}; {_STOPPED}") from None
        now_ms = operations.now_ms()
    if as_json:
        print_json(
            {
                "drained": is_empty,
                "open_requests": watch.open,
                "queue_messages": watch.messages,
                "left": _kinds(watch.survey) if not is_empty else [],
            }
        )
    elif is_empty:
        click.echo("0 open, queue empty: Redis may be moved; `enrolment-reconciliation resume` goes on")
    else:
        _show_left(watch.survey, now_ms)
    if not is_empty:
        raise NotDone(
            f"after {timeout:g} s there are {watch.open} open, {watch.messages} messages on the queue; {_STOPPED}"
        )


def _kinds(survey: Survey) -> list[dict[str, object]]:
    return [
        {
            "state": state.value,
            "course": course,
            "cause": cause,
            "entries": count,
            "latest_next_ms": survey.latest_next_ms.get((state, course, cause)),
        }
        for (state, course, cause), count in survey.by_cause.most_common()
    ]


def _show_left(survey: Survey, now_ms: int) -> None:
    rows = []
    for kind, count in survey.by_cause.most_common(_MOST_KINDS):
        state, course, cause = kind
        next_ms = survey.latest_next_ms.get(kind)
        goes_on = "" if next_ms is None else f"within {format_span(next_ms - now_ms)}"
        rows.append((count, state, course, cause, goes_on))
    if rows:
        console().print(table(["entries", "state", "course", "cause", "goes on"], rows, title="What is still open:"))
    if len(survey.by_cause) > _MOST_KINDS:
        click.echo(
            f"and {len(survey.by_cause) - _MOST_KINDS} kinds more; `enrolment-reconciliation pending` lists them"
        )
