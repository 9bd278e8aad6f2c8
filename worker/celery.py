"""The Celery app: `python -m worker`, `celery -A worker worker` and `celery -A worker flower` start here."""

from celery import Celery

from worker.slots import FreedSlots

app = Celery("enrolment-reconciliation")
app.config_from_object("celeryconfig")
app.steps["consumer"].add(FreedSlots)
