"""`rewind`: has every bridge read the input topic again from a moment on."""

from datetime import datetime

import click

from commands.endings import told
from commands.options import MOMENT, MOMENT_HELP
from commands.servers import open_ledger, read_settings
from commands.terminal import examples, json_option, print_json


@click.command(
    epilog=examples("rewind --since 2h", "rewind --since 2026-01-31T14:30+05:30 --yes"),
)
@click.option("--since", required=True, type=MOMENT, metavar="MOMENT", help=f"{MOMENT_HELP}.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@told
def rewind(since: datetime, yes: bool, as_json: bool) -> None:
    """Have every bridge read the input topic again from a moment on.

    For when the ledger's Redis was lost with its data and something may be missing that the bridges could not find by
    themselves. Running bridges go back within seconds, others when they start; each partition does it once. What is
    still open is not taken in twice, and a completion that was announced in the last two days (ledger.paid.memory) is
    not announced again, unless the ledger forgot that with its data: then it is, under the same mid.
    """
    settings = read_settings()
    at = since.isoformat(timespec="seconds")
    what = f"{settings.kafka_input_topic} from {at} on, in group {settings.kafka_group_id}"
    if not yes:
        click.confirm(f"Read {what}, again?", abort=True, err=True)
    with open_ledger(settings) as ledger:
        order = ledger.order_rewind(round(since.timestamp() * 1000))
    if as_json:
        print_json({"order": order, "topic": settings.kafka_input_topic, "group": settings.kafka_group_id, "since": at})
        return
    click.echo(f"ordered: bridges read {what} (order {order})")
