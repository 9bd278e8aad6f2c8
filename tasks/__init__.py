"""The Celery tasks: claim, one call inward, settle or retry."""
