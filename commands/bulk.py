"""`bulk`: finds enrolments that need a reconciliation, says what it would change, and has it done (docs/bulk.md)."""

import os
from pathlib import Path
from typing import BinaryIO

import click
from click.core import ParameterSource

from bulk.model import Selection
from bulk.order import FileMark, Order
from bulk.report import report_form
from commands.bulk_carrying import Call, carry_out, dry_run, go_on
from commands.bulk_status import bulk_status
from commands.endings import told
from commands.enrolment_file import EnrolmentFile
from commands.options import TEXT, enrolment_options
from commands.servers import read_settings
from commands.terminal import examples, json_option

#: What may be given together with --resume: everything else stands in the run's record.
_WITH_RESUME = frozenset({"resume_id", "file", "report", "recount", "as_json", "most_given_up"})


def _report_path(_context: click.Context, _parameter: click.Parameter, path: Path | None) -> Path | None:
    if path is not None:
        try:
            report_form(path.name)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
    return path


def _is_same(file: BinaryIO, path: Path) -> bool:
    """Say whether a path leads to the file that is open, by whatever name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        # there is no file of that name yet, or what is read is no file
        return False


@click.group(
    invoke_without_command=True,
    subcommand_metavar="[status [RUN]]",
    epilog=examples(
        "bulk --stuck",
        "bulk --stuck --course do_112721 --report stuck.csv",
        "bulk --batch 012608 --not-completed --apply",
        "bulk --file learners.csv --apply --yes --rate 50",
        "bulk --missing-certificates --older-than 86400 --apply",
        "bulk --resume 20260131-143005-3fa2",
        "bulk status",
    ),
)
@enrolment_options(required=False)
@click.option(
    "--file",
    type=click.File("rb", lazy=False),
    metavar="CSV",
    help="The enrolments that this file names: its first line has the columns user, course and batch. A report in CSV "
    "is such a file. - is standard input.",
)
@click.option("--stuck", is_flag=True, help="Those that a reconciliation would change, and no others.")
@click.option(
    "--missing-certificates",
    is_flag=True,
    help="Completed ones whose batch has a certificate template and that have no certificate: only its event is sent.",
)
@click.option("--active-only", is_flag=True, help="Leave out enrolments that are not active.")
@click.option("--not-completed", is_flag=True, help="Leave out those whose status is 2.")
@click.option("--apply/--dry-run", "apply", default=False, help="Do it; without, only say what it would do.")
@click.option("--yes", is_flag=True, help="Do it without asking.")
@click.option("--resume", "resume_id", type=TEXT, metavar="RUN", help="Go on with a run that did not come to its end.")
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_report_path,
    help="Write what was found, and what would change of each, to this file: .csv or .jsonl.",
)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="The most requests and events a second.")
@click.option(
    "--scan-rate", type=click.FloatRange(min=0, min_open=True), help="The most enrolments looked at a second."
)
@click.option("--processes", type=click.IntRange(1, 32), default=2, show_default=True, help="Readers of the tables.")
@click.option(
    "--most-given-up",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    help="Stop when more requests than that were given up since the run was begun or resumed.",
)
@click.option("--aggregates/--no-aggregates", default=True, help="Whether aggregates are compared too.")
@click.option("--reissue", is_flag=True, help="Have certificate events ask for a new one in any case.")
@click.option(
    "--older-than",
    type=click.FloatRange(min=0),
    default=3600,
    show_default=True,
    metavar="SECONDS",
    help="Miss a certificate only where the completion is so old: a fresh one's may be in the making.",
)
@click.option("--recount/--no-recount", default=True, help="Whether to look again afterwards.")
@json_option
@click.pass_context
@told
def bulk(
    context: click.Context,
    *,
    user_id: str | None,
    course_id: str | None,
    batch_id: str | None,
    file: BinaryIO | None,
    stuck: bool,
    missing_certificates: bool,
    active_only: bool,
    not_completed: bool,
    apply: bool,
    yes: bool,
    resume_id: str | None,
    report: Path | None,
    rate: float | None,
    scan_rate: float | None,
    processes: int,
    most_given_up: int,
    aggregates: bool,
    reissue: bool,
    older_than: float,
    recount: bool,
    as_json: bool,
) -> None:
    """Find enrolments of a batch, a course, a learner, a file or all, and have them reconciled.

    Says what it would do, and does nothing unless --apply is given; then it shows the counts and asks. Its requests go
    behind those of learners, who never wait for it. What has begun can be stopped (Ctrl-C), or killed, and resumed.
    `bulk status` lists the runs.
    """
    given = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    if context.invoked_subcommand is not None:
        if given:
            raise click.UsageError(f"give the options after `{context.invoked_subcommand}`, or leave it out")
        return
    if resume_id is not None and given - _WITH_RESUME:
        raise click.UsageError(
            "a run that is resumed goes on as it was begun: give --file, --report, --most-given-up, --recount and "
            "--json alone"
        )
    selection = Selection(
        user_id=user_id or "",
        course_id=course_id or "",
        batch_id=batch_id or "",
        active_only=active_only,
        not_completed=not_completed,
        stuck=stuck,
        missing_certificates=missing_certificates,
    )
    if resume_id is None and file is None and not selection.is_chosen:
        raise click.UsageError(
            "say which enrolments: --batch, --course, --user or --file; or --stuck or --missing-certificates, of all"
        )
    if missing_certificates and not_completed and not stuck:
        raise click.UsageError("--missing-certificates is for completed ones, which --not-completed leaves out")
    settings = read_settings()
    if file is not None and report is not None and _is_same(file, report):
        raise click.UsageError(f"--report would write over what --file reads: {report}")
    enrolments = None if file is None else EnrolmentFile(file, "nothing is done")
    call = Call(settings, enrolments, report, recount, as_json)
    order = Order(
        selection,
        None if enrolments is None else FileMark(enrolments.name, enrolments.sha256()),
        rate=rate,
        scan_rate=scan_rate,
        processes=processes,
        most_given_up=most_given_up,
        aggregates=aggregates,
        reissue=reissue,
        older_than=older_than,
    )
    if resume_id is not None:
        go_on(call, resume_id, most_given_up if "most_given_up" in given else None)
    elif apply:
        carry_out(call, order, yes=yes)
    else:
        dry_run(call, order)


bulk.add_command(bulk_status)
