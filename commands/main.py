"""The command group: what there is, and where its help begins."""

import click

from commands.bulk import bulk
from commands.check import check
from commands.draining import drain
from commands.endings import EXIT_CODES
from commands.explaining import explain
from commands.forgetting import forget
from commands.listing_failed import failed
from commands.pausing import pause
from commands.pending import pending
from commands.relating import relations
from commands.replaying import replay
from commands.requesting import request
from commands.resuming import resume
from commands.rewinding import rewind
from commands.shadowing import shadow
from commands.tracing import trace


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES)
def main() -> None:
    """Help for those who run the enrolment reconciliation.

    Settings come from where bridge and workers have them: the environment, and the file that CONFIG_FILE names.
    """


for _command in (
    bulk,
    check,
    drain,
    explain,
    failed,
    forget,
    pause,
    pending,
    relations,
    replay,
    request,
    resume,
    rewind,
    shadow,
    trace,
):
    main.add_command(_command)
