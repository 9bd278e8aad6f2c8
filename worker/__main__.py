"""`python -m worker`: a worker as `celery -A worker worker` starts it, in less memory (docs/performance.md).

Celery's command line loads all its commands, with a shell, and every package that adds one, so Flower, before it looks
which is meant (celery/bin/celery.py). Here its command for workers alone is loaded, with all its options but one.
"""

import sys

#: They write coloured text, which a worker never does; Celery's options and structlog load them where they are
#: installed (celery/bin/base.py, structlog/dev.py), and that is 4 MiB.
_LEFT_OUT = ("pygments", "rich")


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

    # it would run `python -m celery` with our arguments, which that does not understand (celery/bin/worker.py, worker)
    command.params = [option for option in command.params if option.name != "detach"]
    context = CLIContext(app=app, no_color=True, workdir=None)
    command.main(prog_name="python -m worker", auto_envvar_prefix="CELERY_WORKER", obj=context)


if __name__ == "__main__":
    main()
