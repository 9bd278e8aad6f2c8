"""How a command ends: its exit codes, and one line for each error that an operator can do something about."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import click

from reconciliation.errors import LedgerUnavailable, ReconciliationError, SettingsError

#: Something is not as it should be, or was not done; the output says what.
EXIT_NOT_DONE = 1
#: Wrong use or a wrong setting.
EXIT_SETTING = 2
#: A server does not answer.
EXIT_AWAY = 3

#: For every command's help.
EXIT_CODES = (
    "Exit codes: 0 done, 1 not done or not in order, 2 wrong use or a wrong setting, 3 a server does not answer."
)

P = ParamSpec("P")


class NotDone(Exception):
    """Raised to end a command with exit code 1 and one line that says what was not done and what to do next."""


class ServerAway(Exception):
    """Raised to end a command with exit code 3 and one line that names the server, and the setting that leads to it."""


def told(command: Callable[P, None]) -> Callable[P, None]:
    """End a command with one line and its exit code where it raises what an operator can do something about."""

    @wraps(command)
    def telling(*arguments: P.args, **named: P.kwargs) -> None:
        try:
            command(*arguments, **named)
        except SettingsError as error:
            _end(str(error), EXIT_SETTING)
        except LedgerUnavailable as error:
            _end(f"{error}; is it up, and does ledger.redis.url (LEDGER_REDIS_URL) name it?", EXIT_AWAY)
        except (ServerAway, ReconciliationError) as error:
            _end(str(error), EXIT_AWAY)
        except NotDone as error:
            _end(str(error), EXIT_NOT_DONE)

    return telling


def _end(line: str, code: int) -> None:
    click.echo(f"error: {line}", err=True)
    sys.exit(code)
