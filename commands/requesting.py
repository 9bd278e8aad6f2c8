"""`request`: sends sync requests as the course service does, and follows them to their end."""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

import click

from commands.endings import NotDone, ServerAway, told
from commands.enrolment_file import EnrolmentFile
from commands.following import Followed, follow
from commands.interruption import Interruption
from commands.options import enrolment_options
from commands.outcomes import Sent, print_outcomes
from commands.progress import Progress
from commands.request_file import COLUMNS
from commands.sending import send_in_batches
from commands.servers import open_publisher, read_kafka, read_ledger, read_settings
from commands.sync_requests import NewRequest, checked_id, new_request
from commands.terminal import console, examples, json_option, print_json_line, table
from commands.topics import failed_topic, input_topic
from reconciliation.errors import EventTooLarge, ReconciliationError
from reconciliation.model import EnrolmentKey, Origin, OutgoingEvent
from reconciliation.publisher import EventPublisher

#: How long --wait waits unless told otherwise, in seconds: most tries of a request that fails are over by then.
USUAL_WAIT = 300

_ROWS_A_TABLE = 1000

Enrolments = Callable[[], Iterator[EnrolmentKey]]


@click.command(
    epilog=examples(
        "request --user 8454cb21-3ce9-4e30-85b5-fade097880d8 --course do_1127212344324751361295 "
        "--batch 0126083288437637121",
        "request --file learners.csv --wait",
        "request --file - --dry-run < learners.csv",
    )
)
@enrolment_options(required=False)
@click.option(
    "--file",
    type=click.File("rb", lazy=False),
    metavar="CSV",
    help="A request for each line of this file, whose first line names the columns user, course and batch; others are "
    "passed over. - is standard input.",
)
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    is_flag=False,
    flag_value=USUAL_WAIT,
    metavar="[SECONDS]",
    help=f"Follow them to their end, for so long at most ({USUAL_WAIT} where no number is given).",
)
@click.option("--dry-run", is_flag=True, help="Check everything, say what would be sent, and send nothing.")
@json_option
@told
def request(
    *,
    user_id: str | None,
    course_id: str | None,
    batch_id: str | None,
    file: BinaryIO | None,
    wait: float | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Ask for a sync of one learner's enrolment, or of many, with the event that the course service sends.

    Prints the mid of each, for `trace`. Nothing is sent unless every line of a file is good. With --wait it is done
    when every request has ended and none was given up. JSON is an object a line, with --wait printed at the end.
    """
    enrolments, total = _enrolments(user_id, course_id, batch_id, file)
    settings = read_settings()
    topic = input_topic(settings)
    if dry_run:
        _print_planned(enrolments(), as_json=as_json)
        if not as_json:
            click.echo(f"{total} would be sent to {topic.name}")
        return
    with read_kafka(settings) as kafka:
        before = kafka.span(failed_topic(settings)).end if wait is not None else {}
        kafka.span(topic)  # it must be there
        sent: list[Sent] = []
        with open_publisher(settings) as publisher:
            events = (
                new_request(enrolment, topic.name, time.time_ns() // 1_000_000, uuid.uuid4())
                for enrolment in enrolments()
            )
            try:
                for batch in _send(publisher, events, total):
                    if wait is not None:
                        sent += batch
                    if wait is None or not as_json:
                        _print_sent(batch, as_json=as_json)
            except (NotDone, ServerAway):
                if wait is not None and as_json:
                    _print_sent(sent, as_json=True)
                raise
        if not as_json:
            click.echo(f"sent {total} to {topic.name}")
        if wait is None:
            return
        with read_ledger(settings) as ledger, Interruption() as interruption:
            followed = follow(settings, kafka, ledger, sent, before, wait, interruption)
    print_outcomes(followed.outcomes, as_json=as_json)
    _end(followed, wait)


def _enrolments(
    user_id: str | None, course_id: str | None, batch_id: str | None, file: BinaryIO | None
) -> tuple[Enrolments, int]:
    """Give what the options name: the enrolments, as often as they are asked for, and how many they are."""
    ids = dict(zip(COLUMNS, (user_id, course_id, batch_id), strict=True))
    if (file is None) == all(value is None for value in ids.values()):
        raise click.UsageError("give --user, --course and --batch, or --file")
    if file is not None:
        given = EnrolmentFile(file)
        return given.enrolments, given.total
    checked = []
    for column, value in ids.items():
        if value is None:
            raise click.UsageError(f"--{column} is missing: --user, --course and --batch name one enrolment together")
        try:
            checked.append(checked_id(column, value))
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    key = EnrolmentKey(*checked)
    return lambda: iter([key]), 1


def _send(
    publisher: EventPublisher, events: Iterable[tuple[NewRequest, OutgoingEvent]], total: int
) -> Iterator[list[Sent]]:
    """Send all, and give the confirmed ones batch by batch; ends the command where not all were confirmed."""
    confirmed = 0
    with Interruption() as interruption, Progress("sending", total) as progress:
        for batch in send_in_batches(publisher, events, interruption):
            sent = [Sent(new, place) for new, place in batch if isinstance(place, Origin)]
            problems = [report for _, report in batch if isinstance(report, ReconciliationError)]
            confirmed += len(sent)
            progress.advance(len(batch))
            with progress.hidden():
                yield sent
            if problems:
                ending = NotDone if isinstance(problems[0], EventTooLarge) else ServerAway
                raise ending(
                    f"{problems[0]}; {confirmed} of {total} were sent and confirmed, and {len(problems)} more may have "
                    "been; send the others again: a request that comes twice does no harm"
                )
    if confirmed < total:
        raise NotDone(f"interrupted: the first {confirmed} of {total} were sent and confirmed, the others were not")


def _print_planned(enrolments: Iterator[EnrolmentKey], *, as_json: bool) -> None:
    for rows in _portions(enrolments):
        if as_json:
            for it in rows:
                print_json_line({"user": it.user_id, "course": it.course_id, "batch": it.batch_id})
        else:
            console().print(table(COLUMNS, [(it.user_id, it.course_id, it.batch_id) for it in rows]))


def _portions(enrolments: Iterator[EnrolmentKey]) -> Iterator[list[EnrolmentKey]]:
    portion: list[EnrolmentKey] = []
    for it in enrolments:
        portion.append(it)
        if len(portion) == _ROWS_A_TABLE:
            yield portion
            portion = []
    if portion:
        yield portion


def _print_sent(batch: list[Sent], *, as_json: bool) -> None:
    if as_json:
        for it in batch:
            print_json_line(it.described())
        return
    enrolments = [it.new.enrolment for it in batch]
    rows = [
        (it.new.mid, key.user_id, key.course_id, key.batch_id, it.place.partition, it.place.offset)
        for it, key in zip(batch, enrolments, strict=True)
    ]
    console().print(table(["mid", *COLUMNS, "partition", "offset"], rows))


def _end(followed: Followed, wait: float) -> None:
    given_up, left = followed.count_given_up(), followed.count_left()
    if not given_up and not left:
        return
    parts = [
        f"{given_up} given up (mend what the reason says, then `replay`)" if given_up else "",
        f"{left} had not ended {'when interrupted' if followed.is_interrupted else f'after {wait:g} s'}"
        if left
        else "",
    ]
    raise NotDone(f"of {len(followed.outcomes)} requests {' and '.join(part for part in parts if part)}")
