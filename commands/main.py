"""The command group: what there is, and where its help begins."""

from importlib import import_module

import click

from commands.endings import EXIT_CODES

#: The module of each command, loaded when that one is asked for: with all of them each would start a third of a second
#: later.
_MODULES = {
    "bulk": "commands.bulk",
    "check": "commands.check",
    "drain": "commands.draining",
    "explain": "commands.explaining",
    "failed": "commands.listing_failed",
    "forget": "commands.forgetting",
    "pause": "commands.pausing",
    "pending": "commands.pending",
    "relations": "commands.relating",
    "replay": "commands.replaying",
    "request": "commands.requesting",
    "resume": "commands.resuming",
    "rewind": "commands.rewinding",
    "shadow": "commands.shadowing",
    "trace": "commands.tracing",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in _MODULES:
            return None
        command: click.Command = getattr(import_module(_MODULES[cmd_name]), cmd_name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES)
def main() -> None:
    """Help for those who run the enrolment reconciliation.

    Settings come from where bridge and workers have them: the environment, and the file that CONFIG_FILE names.
    """
