"""The worker process: the Celery app and what each process connects to."""

from worker.celery import app

__all__ = ["app"]
