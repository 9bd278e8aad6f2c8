"""The settings of what is done for learners beyond what is asked, each off by default; see docs/courtesies.md."""

from dataclasses import dataclass, field
from typing import Annotated

from reconciliation import settings_kinds as kind
from reconciliation.settings_sources import Documented
from reconciliation.settings_urls import REDIS_URL


@dataclass(frozen=True, kw_only=True)
class CourtesySettings:
    """Switches, and how the course service's cache is reached; times in seconds."""

    course_list_dropped: Annotated[
        bool,
        kind.SWITCH,
        Documented(
            "enrolment.cache.drop",
            "Whether a learner's cached course list is dropped once their rows are written, so that they see it now.",
        ),
    ] = False
    course_list_redis_url: Annotated[
        str | None,
        REDIS_URL,
        Documented(
            "enrolment.cache.redis.url",
            "The Redis, and the database in it, where the course service caches course lists.",
            secret=True,
            default="redis.host and redis.port with redis.username, redis.password and redis.ssl, database 0",
        ),
    ] = field(default=None, repr=False)
    course_list_timeout: Annotated[
        float,
        kind.seconds(0.05, 60),
        Documented("enrolment.cache.timeout", "How long that Redis may take; no request waits for it (seconds)."),
    ] = 1.0
    completed_on_from_consumption: Annotated[
        bool,
        kind.SWITCH,
        Documented(
            "enrolment.completedon.from.consumption",
            "Whether completedon says when the last required content was completed, instead of now. Drain before you "
            "switch it.",
        ),
    ] = False
    completion_percentage_written: Annotated[
        bool,
        kind.SWITCH,
        Documented("enrolment.completionpercentage.write", "Whether completionpercentage is written with progress."),
    ] = False
    batch_sync_accepted: Annotated[
        bool,
        kind.SWITCH,
        Documented(
            "request.batch.sync.accept",
            "Whether requests with the action batch-enrolment-sync, as the job that merges accounts sends them, are "
            "taken too.",
        ),
    ] = False
