"""The Celery app: `python -m worker`, `celery -A worker worker` and `celery -A worker flower` start here."""

from functools import cached_property
from typing import Any

from celery import Celery

from worker.leaner import go_on_leaner
from worker.slots import FreedSlots


class Application(Celery):
    """Celery's own, but that a worker which Celery's whole command line has started goes on without that."""

    @cached_property
    def Worker(self) -> Any:  # noqa: N802 - Celery's name, by which its command for workers asks for the class
        """The class of a worker; asked for once, when its options are read and nothing has begun."""
        go_on_leaner()
        return super().Worker


app = Application("enrolment-reconciliation")
app.config_from_object("celeryconfig")
app.steps["consumer"].add(FreedSlots)
