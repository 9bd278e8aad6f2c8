"""The command group, and what all commands share: settings, and errors in one line."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any

import click

from commands.moments import parse_moment
from ledger.config import ledger_config
from ledger.ledger import Ledger
from reconciliation.errors import LedgerUnavailable, SettingsError
from reconciliation.settings import Settings, process_settings

EXIT_SETTING = 2
EXIT_AWAY = 3


def _told(command: Callable[..., None]) -> Callable[..., None]:
    """End with one line where a setting is wrong or the ledger is away."""

    @wraps(command)
    def telling(*arguments: Any, **named: Any) -> None:
        try:
            command(*arguments, **named)
        except SettingsError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(EXIT_SETTING)
        except LedgerUnavailable as error:
            click.echo(f"error: {error}; is it up, and does ledger.redis.url (LEDGER_REDIS_URL) name it?", err=True)
            sys.exit(EXIT_AWAY)

    return telling


def _ledger(settings: Settings) -> Ledger:
    return Ledger(ledger_config(settings))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Help for those who run the enrolment reconciliation.

    Settings come from where bridge and workers have them: the environment, and the file that CONFIG_FILE names.

    Exit codes: 0 done, 1 not confirmed, 2 wrong use or a wrong setting, 3 a server does not answer.
    """


@main.command()
@click.option(
    "--since", required=True, metavar="MOMENT", help="2026-01-31T14:30 (UTC unless it names a zone), or 90m, 2h, 3d."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@_told
def rewind(since: str, yes: bool) -> None:
    r"""Have every bridge read the input topic again from a moment on.

    For when the ledger's Redis was lost with its data and something may be missing that the bridges could not find by
    themselves. Running bridges go back within seconds, others when they start; each partition does it once. What is
    still open is not taken in twice, and a completion that was announced in the last two days (ledger.paid.memory) is
    not announced again.

    \b
    Examples:
      enrolment-reconciliation rewind --since 2h
      enrolment-reconciliation rewind --since 2026-01-31T14:30+05:30 --yes
    """
    settings = process_settings()
    try:
        moment = parse_moment(since, datetime.now(UTC))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--since") from error
    at = moment.isoformat(timespec="seconds")
    what = f"{settings.kafka_input_topic} from {at} on, in group {settings.kafka_group_id}"
    if not yes:
        click.confirm(f"Read {what}, again?", abort=True)
    order = _ledger(settings).order_rewind(round(moment.timestamp() * 1000))
    click.echo(f"ordered: bridges read {what} (order {order})")


@main.command()
@_told
def resume() -> None:
    """Go on at once where too many final failures stopped consumption (failures.max.per.minute).

    For when the reason is mended. It goes on by itself too, at first for a few requests, and later.
    """
    settings = process_settings()
    if _ledger(settings).release_failures():
        click.echo(f"resumed: bridges and workers of group {settings.kafka_group_id} go on")
    else:
        click.echo(f"nothing to do: group {settings.kafka_group_id} was not stopped by final failures")
