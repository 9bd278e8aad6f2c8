"""`python -m worker`: a worker as `celery -A worker worker` starts it, in less memory (docs/performance.md).

Celery's command line loads all its commands, with a shell, and every package that adds one, so Flower, before it looks
which is meant (celery/bin/celery.py). Here its command for workers alone is loaded, with all its options but those
that would do nothing or not work.
"""

import sys
from collections.abc import Callable, Collection, Sequence

import click

#: They write coloured text, which a worker never does; Celery's options and structlog load them where they are
#: installed (celery/bin/base.py, structlog/dev.py), and that is 4 MiB.
_LEFT_OUT = ("pygments", "rich")

#: Options that are refused. The first would run `python -m celery` with our arguments, which that does not understand
#: (celery/bin/worker.py, worker); `log.level` and a supervisor say how much is logged, and where to.
_NOT_TAKEN = ("detach", "loglevel", "logfile")


def main() -> None:
    """Run a worker with the options of the command line, until it is told to end; exits the process.

    An option's variable is that of Celery's command line, such as CELERY_WORKER_QUEUES (celery/bin/celery.py, main).
    """
    for package in _LEFT_OUT:
        # an import of what is None here fails as if it were not installed (importlib/_bootstrap.py, _find_and_load)
        sys.modules[package] = None  # type: ignore[assignment]  # typeshed knows modules alone there
    from celery.bin.base import CLIContext  # noqa: PLC0415 - after that
    from celery.bin.worker import worker as command  # noqa: PLC0415 - after that

    from worker.celery import app  # noqa: PLC0415 - after that

    # what Celery runs again on SIGHUP (celery/apps/worker.py, _reload_current_worker): started by its file, this module
    # would find worker/celery.py where Celery is looked for
    arguments, sys.argv = sys.argv[1:], sys.orig_argv[1:]
    command.params = [option for option in command.params if option.name not in _NOT_TAKEN]
    for option in command.params:
        if option.name == "queues":
            option.callback = _of(lambda: app.amqp.queues)
    context = CLIContext(app=app, no_color=True, workdir=None)
    command.main(arguments, prog_name="python -m worker", auto_envvar_prefix="CELERY_WORKER", obj=context)


def _of(
    known: Callable[[], Collection[str]],
) -> Callable[[click.Context, click.Parameter, Sequence[str] | None], Sequence[str] | None]:
    """Make what refuses names of queues that are none; Celery advises to have them made then, which nobody sends to."""

    def check(_context: click.Context, _option: click.Parameter, names: Sequence[str] | None) -> Sequence[str] | None:
        for name in names or ():
            if name not in known():
                raise click.BadParameter(f"there is no queue '{name}'; there are {' and '.join(sorted(known()))}")
        return names

    return check


if __name__ == "__main__":
    main()
