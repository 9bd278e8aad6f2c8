"""The worker process: the Celery app and what each process connects to."""


def __getattr__(name: str) -> object:
    """Give `app`, which Celery looks for here (celery/app/utils.py, find_app); loaded when it is asked for.

    `python -m worker` loads this package first, and has to settle what Celery finds before Celery is there.
    """
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from worker.celery import app  # noqa: PLC0415 - as said

    return app
