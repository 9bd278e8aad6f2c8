"""The command group: what there is, and where its help begins."""

import click

from commands.draining import drain
from commands.endings import EXIT_CODES
from commands.forgetting import forget
from commands.pausing import pause
from commands.pending import pending
from commands.resuming import resume
from commands.rewinding import rewind


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES)
def main() -> None:
    """Help for those who run the enrolment reconciliation.

    Settings come from where bridge and workers have them: the environment, and the file that CONFIG_FILE names.
    """


for _command in (drain, forget, pause, pending, resume, rewind):
    main.add_command(_command)
