"""Lets `celery -A worker worker` go on as `python -m worker`: the same worker, in a quarter less memory."""

import os
import sys
from contextlib import suppress

#: What follows `celery` on the command line; what comes after it are the worker's own options.
COMMAND = ("-A", "worker", "worker")
#: Begins the arguments of `python -m worker` where it stands in for that command, so that whoever looks for a process
#: by that finds it.
STANDS_IN = ("celery", *COMMAND)

_COMMAND_LINE = "celery.bin.celery"
#: They replace parts of Python at the very start, which `python -m worker` does not (celery/__init__.py,
#: maybe_patch_concurrency).
_OTHER_POOLS = ("eventlet", "gevent")


def go_on_leaner() -> None:
    """Begin this process anew as `python -m worker`, with the same options, and don't return.

    Returns where it is one already, where another app than the worker's own is meant, where Celery has options of its
    own before the app's, and where its pool needs Celery's command line.
    """
    # for workers alone their command is loaded, and not all of Celery's (worker/__main__.py)
    if _COMMAND_LINE not in sys.modules or tuple(sys.argv[1:4]) != COMMAND:
        return
    if any(pool in sys.modules for pool in _OTHER_POOLS):
        return
    sys.stdout.flush()
    sys.stderr.flush()
    # the process, its parent, directory, variables and limits stay what they are; where there is no program to be found
    # it goes on as it is
    with suppress(OSError):
        command = [sys.executable, "-m", "worker", *STANDS_IN, *sys.argv[4:]]
        os.execv(sys.executable, command)  # noqa: S606 - no shell is wanted
