"""Lets `celery -A worker worker` go on as `python -m worker`: the same worker, in a quarter less memory."""

import os
import sys
from contextlib import suppress

import click

from worker.streams import flush_streams

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

    Returns where it is one already, and where it could not be the same: the command line begins with anything but
    `-A worker worker`, its pool needs Celery's command line, or a user was changed, who may not read what root has.
    """
    # for workers alone their command is loaded, and not all of Celery's (worker/__main__.py)
    if _COMMAND_LINE not in sys.modules or tuple(sys.argv[1:4]) != COMMAND:
        return
    if any(pool in sys.modules for pool in _OTHER_POOLS) or _has_options_of_its_own():
        return
    # `python -m` finds this package in the directory at hand, as Celery does, unless that is switched off
    if sys.flags.safe_path:
        return
    flush_streams()
    # the process, its parent, directory, variables and limits stay what they are; where there is no program to be found
    # it goes on as it is
    with suppress(OSError):
        command = [sys.executable, "-m", "worker", *STANDS_IN, *sys.argv[4:]]
        os.execv(sys.executable, command)  # noqa: S606 - no shell is wanted


def _has_options_of_its_own() -> bool:
    """Tell whether options are given, in variables say, that only Celery's command line carries out as a whole.

    It has changed the user by now (celery/bin/worker.py, worker), and alone keeps quiet (celery/bin/celery.py).
    """
    context = click.get_current_context(silent=True)
    if context is None:
        return False
    return context.params.get("uid") is not None or context.params.get("gid") is not None or context.obj.quiet
