"""`trace`: from a click's mid to the rows and events that it led to."""

from dataclasses import asdict
from datetime import datetime

import click

from commands.endings import NotDone, told
from commands.moments import format_moment
from commands.options import MOMENT, MOMENT_HELP
from commands.servers import read_kafka, read_ledger, read_rows, read_settings
from commands.terminal import console, examples, json_option, print_json, printable, table
from commands.trace_search import Servers, search
from commands.traces import Trace, TracedEnrolment, TracedRequest, statements, timeline


@click.command(
    epilog=examples(
        "trace LP.1683556693275.a18caaec-50ac-4c19-bcfe-84e2ad9aa5eb",
        "trace LP.1683556693275.a18caaec-50ac-4c19-bcfe-84e2ad9aa5eb --since 7d --json",
    )
)
@click.argument("mid")
@click.option(
    "--since",
    type=MOMENT,
    default="2d",
    show_default=True,
    metavar="MOMENT",
    help=f"Look from then on: {MOMENT_HELP}.",
)
@json_option
@told
def trace(mid: str, since: datetime, as_json: bool) -> None:
    """Follow a request from its event's mid to the rows and events that it led to.

    Says of each record with that mid whether it is taken, open (and why), given up or settled; what the enrolment's
    row and the course's aggregate say now; and where the certificate and audit events of that completion lie. A mid of
    a certificate or audit event is followed back to its learner's requests.
    """
    if not mid.strip():
        raise click.UsageError("the mid is blank")
    settings = read_settings()
    since_ms = round(since.timestamp() * 1000)
    with read_kafka(settings) as kafka, read_ledger(settings) as ledger, read_rows(settings) as rows:
        found = search(Servers(settings, kafka, ledger, rows), mid, since_ms)
    if found is None:
        raise NotDone(
            f"nothing on {settings.kafka_input_topic} or {settings.kafka_certissue_topic} carries {printable(mid)} "
            f"since {format_moment(since_ms)}; try an earlier --since, or `failed --list --user …` if the learner is "
            "known"
        )
    if as_json:
        print_json(_as_json(found, since_ms))
    else:
        _print(found)


def _print(found: Trace) -> None:
    for enrolment in found.enrolments:
        key = enrolment.enrolment
        click.echo(printable(f"learner {key.user_id}, course {key.course_id}, batch {key.batch_id}"))
    rows = [(format_moment(moment.at_ms, exact=True), moment.what) for moment in timeline(found)]
    console().print(table(["time", "what"], rows))
    for line in statements(found):
        click.echo(printable(line))


def _as_json(found: Trace, since_ms: int) -> dict[str, object]:
    event = found.event
    return {
        "mid": found.mid,
        "since": since_ms,
        "event": None if event is None else asdict(event),
        "requests": [_request(request) for request in found.requests],
        "earlierRequests": found.earlier,
        "enrolments": [_enrolment(enrolment) for enrolment in found.enrolments],
        "timeline": [asdict(moment) for moment in timeline(found)],
        "statements": statements(found),
    }


def _request(request: TracedRequest) -> dict[str, object]:
    standing, failure = request.standing, request.failure
    entry = None if standing is None else standing.entry
    return {
        "place": asdict(request.origin),
        "enrolment": None if request.enrolment is None else asdict(request.enrolment),
        "repeated": request.is_repeated,
        "firstSent": request.first_ms,
        "problem": request.problem,
        "stage": None if standing is None else standing.stage.name.lower(),
        "entry": None if entry is None else asdict(entry),
        "givenUp": None
        if failure is None
        else {
            "reason": failure.reason,
            "error": failure.error,
            "attempts": failure.attempts,
            "failedAt": failure.failed_ms,
            "place": asdict(failure.record.origin),
        },
    }


def _enrolment(enrolment: TracedEnrolment) -> dict[str, object]:
    return {
        "enrolment": asdict(enrolment.enrolment),
        "row": None if enrolment.row is None else asdict(enrolment.row),
        "aggregate": None if enrolment.aggregate is None else asdict(enrolment.aggregate),
        "announcements": [asdict(event) for event in enrolment.announcements],
    }
