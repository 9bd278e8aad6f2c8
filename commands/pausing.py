"""`pause`: has bridges and workers stand still for everything, a course or a batch."""

from collections.abc import Sequence

import click

from commands.endings import NotDone, told
from commands.moments import format_moment, format_span
from commands.options import TEXT, scope_options
from commands.servers import open_operations, read_settings
from commands.terminal import console, examples, json_option, print_json, printable, table
from ledger.pauses import EVERYTHING, MOST_PAUSES, Pause, batch_scope, course_scope

_LONGEST_REASON = 200


@click.command(
    epilog=examples(
        'pause --all --reason "Cassandra is being upgraded"',
        "pause --course do_21310287978188800014457",
        "pause --batch 0131029098223779842 --batch 0131029098223779843",
        "pause --list",
    )
)
@scope_options(all_help="Everything: bridges take nothing more from Kafka, workers begin no attempt.")
@click.option("--reason", type=TEXT, metavar="TEXT", default=None, help="Shown wherever the pause is.")
@click.option("--list", "is_list", is_flag=True, help="Change nothing, show what is paused.")
@json_option
@told
def pause(
    everything: bool,
    courses: tuple[str, ...],
    batches: tuple[str, ...],
    reason: str | None,
    is_list: bool,
    as_json: bool,
) -> None:
    """Pause everything, or courses and batches, until `resume`.

    Requests of a paused course or batch are taken from Kafka and wait, so that all others flow. Attempts that run end
    as usual. What waits spends no tries, and a completion that is written and not announced waits too. A pause stands
    in the ledger's Redis: restarts of bridges and workers don't end it.
    """
    scopes = scopes_of(courses, batches, EVERYTHING if everything else None)
    if is_list == bool(scopes):
        raise click.UsageError("name what is to be paused: --all, --course ID or --batch ID; or give --list alone")
    if reason is not None and len(reason) > _LONGEST_REASON:
        raise click.UsageError(f"--reason may have {_LONGEST_REASON} characters")
    settings = read_settings()
    with open_operations(settings) as operations:
        refused = operations.pause(scopes, reason or "") if scopes else []
        pauses = operations.pauses()
        now_ms = operations.now_ms()
    if as_json:
        print_json([pause_as_json(it) for it in pauses])
    elif is_list:
        show_pauses(pauses, now_ms)
    else:
        for it in pauses:
            if it.scope in scopes:
                click.echo(printable(str(it)))
        click.echo(f"`enrolment-reconciliation resume` goes on; group {settings.kafka_group_id}")
    if refused:
        raise NotDone(f"{len(refused)} were not paused: there may be {MOST_PAUSES} pauses, end some with `resume`")


def scopes_of(courses: Sequence[str], batches: Sequence[str], *more: str | None) -> list[str]:
    """Give the scopes of pauses that options name, each once."""
    named = [*(it for it in more if it), *map(course_scope, courses), *map(batch_scope, batches)]
    return list(dict.fromkeys(named))


def show_pauses(pauses: Sequence[Pause], now_ms: int) -> None:
    """Print what is paused."""
    if not pauses:
        click.echo("nothing is paused")
        return
    rows = [(it.what, format_moment(it.since_ms), format_span(now_ms - it.since_ms), it.reason) for it in pauses]
    console().print(table(["paused", "since", "for", "reason"], rows))


def pause_as_json(pause: Pause) -> dict[str, object]:
    """Give a pause for JSON; `scope` is `all`, `drain`, or `course:` or `batch:` with the id."""
    return {
        "scope": pause.scope,
        "since_ms": pause.since_ms,
        "since": format_moment(pause.since_ms),
        "reason": pause.reason,
    }
