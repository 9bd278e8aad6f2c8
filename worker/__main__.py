"""`python -m worker`: a worker as `celery -A worker worker` starts it, in less memory (docs/performance.md).

Celery's command line loads all its commands, with a shell, and every package that adds one, so Flower, before it looks
which is meant (celery/bin/celery.py). Here its command for workers alone is loaded, with all its options but one.
"""

from celery.bin.base import CLIContext
from celery.bin.worker import worker as command

from worker.celery import app


def main() -> None:
    """Run a worker with the options of the command line, until it is told to end; exits the process.

    An option's variable is that of Celery's command line, such as CELERY_WORKER_QUEUES (celery/bin/celery.py, main).
    """
    # it would run `python -m celery` with our arguments, which that does not understand (celery/bin/worker.py, worker)
    command.params = [option for option in command.params if option.name != "detach"]
    context = CLIContext(app=app, no_color=True, workdir=None)
    command.main(prog_name="python -m worker", auto_envvar_prefix="CELERY_WORKER", obj=context)


if __name__ == "__main__":
    main()
