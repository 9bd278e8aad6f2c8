"""`replay`: sends what was given up to the input topic again."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import click

from commands.endings import NotDone, ServerAway, told
from commands.failure_options import selected, selection, selection_options, span_of
from commands.failures import Failure, read_failure
from commands.interruption import Interruption
from commands.progress import Progress
from commands.replay_plan import Picked, Plan, Planner, Refused
from commands.replay_report import Outcome, plan_as_json, print_plan, unsent
from commands.sending import send_in_batches
from commands.servers import open_publisher, read_kafka, read_settings
from commands.terminal import examples, json_option, print_json
from commands.topics import KafkaReader, Span, failed_topic, input_topic
from reconciliation.errors import EventTooLarge, InvalidRequest, ReconciliationError
from reconciliation.model import OutgoingEvent
from reconciliation.publisher import EventPublisher
from reconciliation.replays import replayed

#: How many are sent in a second unless told otherwise: as many as bridges send again after an outage.
USUAL_RATE = 300

_HARMLESS = "the same call may be repeated: what was sent already is known as repeated, and announced once"


@click.command(
    epilog=examples(
        "replay --reason RELATIONS_MISSING --since 1d --dry-run",
        "replay --course do_21310287978188800014457 --yes",
        "replay --all --limit 100 --rate 10",
    )
)
@selection_options
@click.option("--all", "everything", is_flag=True, help="All of them; needed where nothing else picks.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The N that failed first, and no more.")
@click.option(
    "--rate",
    type=click.IntRange(1, 100_000),
    default=USUAL_RATE,
    show_default=True,
    metavar="N",
    help="Send so many in a second at most.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be sent, and send nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@told
def replay(
    *, everything: bool, limit: int | None, rate: int, dry_run: bool, yes: bool, as_json: bool, **options: Any
) -> None:
    """Send events from kafka.output.failed.topic to kafka.input.topic again, once what made them fail is mended.

    Each goes back as it once came, marked as repeated and with the time at which it was first sent, so that what was
    announced since is not announced again. Of several failures of one request one is sent. What comes onto the failed
    topic meanwhile is left there. Events with INVALID_REQUEST would only come back: they are left out unless --reason
    names them. The failed topic keeps its events until Kafka drops them.
    """
    wanted = selection(**options)
    if wanted.is_everything and not everything:
        raise click.UsageError("say which: --reason, --since, --until, --user, --course, --batch, or --all")
    settings = read_settings()
    source, target = failed_topic(settings), input_topic(settings)
    outcome = Outcome()
    with read_kafka(settings) as kafka:
        # asked for first, so that nothing is begun where it is missing
        kafka.span(target)
        span = span_of(kafka, source, wanted)
        planner = Planner(wanted, target.name, limit)
        for failure in selected(kafka, span, wanted, "looking at failed events"):
            planner.look(failure)
        plan = planner.plan()
        if not as_json:
            print_plan(plan, source.name, target.name)
        if len(plan) and not dry_run:
            if not yes:
                click.confirm(f"Send {len(plan)} to {target.name}?", abort=True, err=True)
            with open_publisher(settings) as publisher:
                _send(publisher, _originals(kafka, span, plan, target.name), len(plan), rate, outcome)
    if as_json:
        print_json(plan_as_json(plan, outcome, dry_run=dry_run))
    elif not dry_run:
        click.echo(f"sent {outcome.sent} of {len(plan)} to {target.name}")
    _end(plan, outcome, dry_run=dry_run)


def _originals(kafka: KafkaReader, span: Span, plan: Plan, target: str) -> Iterator[tuple[Failure, OutgoingEvent]]:
    picked = Picked(plan)
    for record in kafka.read(span):
        if picked.holds(record.origin):
            # what was picked could be had back; if it can't now, the topic was made anew meanwhile
            with suppress(InvalidRequest):
                yield read_failure(record), replayed(record, target)


def _send(
    publisher: EventPublisher,
    originals: Iterator[tuple[Failure, OutgoingEvent]],
    total: int,
    rate: int,
    outcome: Outcome,
) -> None:
    """Send the originals and note what becomes of them; it ends early when interrupted, or when Kafka goes away."""
    with Interruption() as interruption, Progress("sending", total) as progress:
        try:
            for batch in send_in_batches(publisher, originals, interruption, rate):
                for failure, report in batch:
                    if isinstance(report, EventTooLarge):
                        outcome.note_too_large(Refused(failure.without_value(), str(report)))
                    elif isinstance(report, ReconciliationError):
                        outcome.unconfirmed += 1
                        outcome.away = str(report)
                    else:
                        outcome.sent += 1
                progress.advance(len(batch))
                if outcome.away is not None:
                    return
        except ServerAway as error:
            outcome.away = str(error)
        outcome.is_interrupted = interruption.is_asked


def _end(plan: Plan, outcome: Outcome, *, dry_run: bool) -> None:
    done = f"{outcome.sent} of {len(plan)} were sent and confirmed"
    if outcome.away is not None:
        perhaps = f", {outcome.unconfirmed} more may have been" if outcome.unconfirmed else ""
        raise ServerAway(f"{outcome.away}; {done}{perhaps}; {_HARMLESS}")
    missing = len(plan) - outcome.sent - outcome.too_large_count
    if outcome.is_interrupted and missing:
        raise NotDone(f"interrupted: {done}; {_HARMLESS}")
    kept_back = plan.refused_count + outcome.too_large_count
    if kept_back:
        for line in unsent(plan, outcome):
            click.echo(line, err=True)
        raise NotDone(f"{kept_back} can't be sent back; what is left of them is on the failed topic")
    if missing and not dry_run:
        raise NotDone(f"{done}; the others were dropped from the failed topic meanwhile")
