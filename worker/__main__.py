"""`python -m worker`: a worker as `celery -A worker worker` starts it, in less memory (docs/performance.md).

Celery's command line loads all its commands, with a shell, and every package that adds one, so Flower, before it looks
which is meant (celery/bin/celery.py). Here its command for workers alone is loaded, with all its options but those
that would do nothing or not work. What checks settings is not loaded either (reconciliation/settings_apart.py).
"""

import sys
from collections.abc import Sequence

import click
from click.core import ParameterSource

from reconciliation.settings_apart import read_settings_apart
from worker.leaner import STANDS_IN

#: Loaded where they are installed, and of no use to a worker, which writes no coloured text (celery/bin/base.py,
#: structlog/dev.py: 4 MiB), takes no YAML (kombu/serialization.py) and tells no memory (celery/utils/debug.py: 2 MiB).
_LEFT_OUT = ("psutil", "pygments", "rich", "yaml")

#: Options that are refused, with what there is instead. Celery's own command takes the last two, and they do nothing.
_REFUSED = {
    # it would run `python -m celery` with our arguments, which that does not understand (celery/bin/worker.py, worker)
    "detach": "a supervisor runs it in the background",
    "loglevel": "log.level (LOG_LEVEL) says how much is logged",
    "logfile": "the log goes to standard error, which a shell or a supervisor sends to a file",
}


def main() -> None:
    """Run a worker with the options of the command line, until it is told to end; exits the process.

    An option's variable is that of Celery's command line, such as CELERY_WORKER_QUEUES (celery/bin/celery.py, main).
    Where it stands in for that command line (worker/leaner.py), it takes all of its options.
    """
    for package in _LEFT_OUT:
        # an import of what is None here fails as if it were not installed (importlib/_bootstrap.py, _find_and_load)
        sys.modules[package] = None  # type: ignore[assignment]  # typeshed knows modules alone there
    read_settings_apart()
    from celery.bin.base import CLIContext  # noqa: PLC0415 - after that
    from celery.bin.worker import worker as command  # noqa: PLC0415 - after that

    from worker.celery import app  # noqa: PLC0415 - after that

    # what Celery runs again on SIGHUP (celery/apps/worker.py, _reload_current_worker): started by its file, this module
    # would find worker/celery.py where Celery is looked for
    arguments, sys.argv = sys.argv[1:], sys.orig_argv[1:]
    name = "python -m worker"
    stands_in = tuple(arguments[: len(STANDS_IN)]) == STANDS_IN
    if stands_in:
        arguments, name = arguments[len(STANDS_IN) :], " ".join(STANDS_IN)
    for option in command.params:
        if option.name in _REFUSED and isinstance(option, click.Option) and not stands_in:
            option.hidden, option.callback = True, _refuse
        # Celery takes any name where queues are left out (celery/app/amqp.py, Queues.deselect)
        elif option.name == "queues" or (option.name == "exclude_queues" and not stands_in):
            option.callback = _check_queues
    context = CLIContext(app=app, no_color=True, workdir=None)
    command.main(arguments, prog_name=name, auto_envvar_prefix="CELERY_WORKER", obj=context)


def _refuse(context: click.Context, option: click.Parameter, value: object) -> object:
    name = str(option.name)
    if context.get_parameter_source(name) in {ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT}:
        raise click.UsageError(f"--{name} is not taken here: {_REFUSED[name]}")
    return value


def _check_queues(
    context: click.Context, _option: click.Parameter, names: Sequence[str] | None
) -> Sequence[str] | None:
    """Refuse names of queues that are none; Celery advises to have them made then, which nobody sends to."""
    for name in names or ():
        known = context.obj.app.amqp.queues
        if name not in known:
            raise click.BadParameter(f"there is no queue '{name}'; there are {' and '.join(sorted(known))}")
    return names


if __name__ == "__main__":
    main()
