"""`resume`: goes on where consumption was stopped."""

import click

from commands.endings import told
from commands.servers import open_ledger, read_settings
from commands.terminal import examples


@click.command(epilog=examples("resume"))
@told
def resume() -> None:
    """Go on at once where too many final failures stopped consumption (failures.max.per.minute).

    For when the reason is mended. It goes on by itself too, at first for a few requests, and later.
    """
    settings = read_settings()
    with open_ledger(settings) as ledger:
        released = ledger.release_failures()
    if released:
        click.echo(f"resumed: bridges and workers of group {settings.kafka_group_id} go on")
    else:
        click.echo(f"nothing to do: group {settings.kafka_group_id} was not stopped by final failures")
