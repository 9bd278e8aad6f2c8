"""`forget`: takes a deleted learner's id out of the ledger, and says where else it is."""

import click

from commands.endings import NotDone, told
from commands.moments import format_span
from commands.options import TEXT
from commands.pending import entry_as_json, show_entries
from commands.retention import read_retentions
from commands.servers import open_operations, read_settings
from commands.terminal import console, examples, json_option, print_json, table
from ledger.open_entries import EntryState, OpenEntry
from ledger.operations import Operations
from reconciliation.model import EnrolmentKey
from reconciliation.settings import Settings

#: How often what came meanwhile is looked for again.
_PASSES = 5


#: What an attempt that runs may still do when its claim is taken away.
_STILL = (
    "an attempt ran: it may still write the aggregates, and the progress of a course that is not completed. It writes "
    "no completion any more, unless it had recorded it already: then it writes and announces that one"
)


@click.command(
    epilog=examples(
        "forget --user fbe926ac-a395-40e4-a65b-9b4f711d7642 --dry-run",
        "forget --user fbe926ac-a395-40e4-a65b-9b4f711d7642",
    )
)
@click.option("--user", "user_id", required=True, type=TEXT, metavar="ID", help="The learner's id, exactly.")
@click.option("--dry-run", is_flag=True, help="Change nothing, show what is there.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@told
def forget(user_id: str, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Take a deleted learner's id out of the ledger.

    Every open request of the learner ends, whatever it waits for, and is not answered. An attempt that runs loses its
    claim. Bulk runs that were begun for the learner alone (`bulk --user`) end, and their records go. Then it says where
    else the id is, and for how long. What a bridge has not committed yet, and what lies unread on the input topic, is
    taken in afterwards: make it the last step, when the learner can click no more.
    """
    if as_json and not (yes or dry_run):
        raise click.UsageError("--json asks nothing: add --yes or --dry-run")
    settings = read_settings()
    with open_operations(settings) as operations:
        found, named = operations.entries_of(user_id)
        runs = operations.runs_for(user_id)
        if not as_json:
            _show_found(found, operations.now_ms())
            if runs:
                click.echo(f"{len(runs)} bulk runs were begun for this learner: {', '.join(runs)}")
        ended = 0
        were_running = False
        left = [*((it.entry_id, it.enrolment) for it in found), *named]
        if (left or runs) and not dry_run:
            if not yes:
                click.confirm("End these for good?", abort=True, err=True)
            # the runs first: one that is under way makes requests
            operations.delete_runs(runs)
            ended, were_running, left = _forget(operations, user_id)
        now_ms = operations.now_ms()
    remains = _remains(settings)
    if as_json:
        print_json(
            {
                "found": [entry_as_json(entry, now_ms) for entry in found],
                "ended_requests": ended,
                "attempts_ran": were_running,
                "bulk_runs": runs,
                "done": not left,
                "remains": [{"where": where, "what": what, "until": until} for where, what, until in remains],
            }
        )
    else:
        if not dry_run:
            click.echo(f"ended: {ended} requests; the ledger names this learner no more" if not left else "not done")
        if were_running:
            click.echo(_STILL)
        console().print(table(["where else", "what", "for how long"], remains, title="What is not the ledger's:"))
    if left and not dry_run:
        raise NotDone(f"{len(left)} entries came while others were ended: repeat it when the learner clicks no more")


def _forget(operations: Operations, user_id: str) -> tuple[int, bool, list[tuple[str, EnrolmentKey]]]:
    """End what there is, again and again; gives how many requests ended, whether one ran, and what is there still."""
    ended, were_running = 0, False
    for _ in range(_PASSES):
        found, named = operations.entries_of(user_id)
        left = list(dict.fromkeys([*((it.entry_id, it.enrolment) for it in found), *named]))
        if not left:
            break
        were_running = were_running or any(it.state is EntryState.RUNNING for it in found)
        ended += sum(operations.forget(left))
    return ended, were_running, left


def _show_found(found: list[OpenEntry], now_ms: int) -> None:
    if not found:
        click.echo("the ledger holds no open request of this learner")
        return
    requests = sum(1 + entry.collapsed for entry in found)
    click.echo(f"{requests} open requests of this learner, in {len(found)} entries:")
    show_entries(found, now_ms, with_ids=False)


def _remains(settings: Settings) -> list[tuple[str, str, str]]:
    """Say where a learner's id may be that this command does not touch: where, what, and for how long."""
    topics = {
        settings.kafka_input_topic: "the learner's requests",
        settings.kafka_output_failed_topic: "requests that were given up",
        settings.kafka_certissue_topic: "certificate events",
        settings.kafka_audit_topic: "audit events",
    }
    retentions = read_retentions(settings, list(topics))
    memory = format_span(round(settings.ledger_paid_memory * 1000))
    tables = (
        settings.user_enrolments_table,
        settings.user_activity_agg_table,
        settings.content_consumption_table,
    )
    return [
        *((f"topic {it.topic}", topics[it.topic], str(it)) for it in retentions),
        ("Cassandra", ", ".join(tables), "until who owns these rows deletes them"),
        ("ledger, paid:", "names made of ids that nobody can read back", f"{memory} (ledger.paid.memory)"),
        ("Redis' append-only file", "commands of the past", "until its next rewrite (BGREWRITEAOF), and in backups"),
        ("files of bulk runs", "reports, and what --file read", "until who made them deletes them"),
        ("logs", "no learner's id at level info and above; at debug the client libraries' own", "as they are kept"),
    ]
