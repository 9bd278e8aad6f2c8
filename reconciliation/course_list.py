"""Drops learners' course lists from the course service's cache, so that they see their progress at once.

The course service keeps the answer to "my courses" under `{userId}:user-enrolments` for a while. What is done here is a
courtesy: it holds no request up and fails none (docs/courtesies.md).
"""

import threading
import time
from collections.abc import Iterable
from itertools import islice

import redis
import structlog

from reconciliation.background import started
from reconciliation.redis_options import remedy
from reconciliation.reminder import Reminder

log = structlog.get_logger(__name__)

#: How many learners wait for it at most, as they do while that Redis is away: beyond, the oldest are let go.
MOST_WAITING = 10_000
#: How many keys are dropped in one round trip.
_KEYS_AT_ONCE = 500
#: How long the thread waits for another change before it ends, in seconds; the next one begins it anew.
_IDLE = 60.0
#: How long it is left alone after it did not answer, in seconds.
_PAUSE = 1.0
_LOGIN = "enrolment.cache.redis.url (ENROLMENT_CACHE_REDIS_URL), or redis.username and redis.password"
_TLS = "enrolment.cache.redis.url (ENROLMENT_CACHE_REDIS_URL), or redis.ssl.enabled and redis.ssl.ca.location"


def course_list_key(user_id: str) -> bytes:
    """Give the key under which the course service caches a learner's courses."""
    return f"{user_id}:user-enrolments".encode()


class CourseList:
    """Drops cached course lists in a thread of its own, which begins with the first change. Safe for several threads.

    Args:
        client: leads to the course service's cache; every call of it must end by itself.
        timeout: how long such a call takes at most, in seconds.

    """

    def __init__(self, client: redis.Redis, timeout: float) -> None:
        self._redis = client
        self._timeout = timeout
        self._waiting: dict[str, None] = {}
        self._is_closing = False
        self._told = threading.Condition()
        self._thread: threading.Thread | None = None
        self._reminder = Reminder()
        # of its own: a cache that answers does not mean that threads start again
        self._no_thread = Reminder()

    def changed(self, user_ids: Iterable[str]) -> None:
        """Have these learners' lists dropped soon; returns at once, whatever the cache does."""
        with self._told:
            self._waiting.update(dict.fromkeys(user_ids))
            self._shorten()
            if self._waiting and self._thread is None and not self._is_closing:
                self._thread = started(self._run, "course-list", self._tell_no_thread)
            self._told.notify()

    def close(self) -> None:
        """Drop what still waits, if that takes no longer than one call may, and close the connection."""
        with self._told:
            self._is_closing = True
            self._told.notify()
            thread = self._thread
        if thread is not None:
            thread.join(self._timeout)
        self._redis.close()

    def _tell_no_thread(self, error: str) -> None:
        """Tell it, but not with every change: the next one tries again."""
        if self._no_thread.due("no thread", time.monotonic()):
            log.warning("cached course lists can't be dropped for now: no thread starts", error=error)

    def _run(self) -> None:
        try:
            self._drop_until_idle()
        except Exception as error:  # noqa: BLE001 - the next change begins anew; its text may have a learner's id
            log.error("cached course lists could not be dropped", error=type(error).__name__)
        finally:
            with self._told:
                # another one may run by now
                if self._thread is threading.current_thread():
                    self._thread = None

    def _drop_until_idle(self) -> None:
        while users := self._next():
            if self._drop(users):
                continue
            with self._told:
                # those who changed again meanwhile wait already
                self._waiting = {**dict.fromkeys(users), **self._waiting}
                self._shorten()
                if self._is_closing or self._told.wait_for(lambda: self._is_closing, _PAUSE):
                    return

    def _next(self) -> list[str]:
        """Wait for learners whose lists are to be dropped; gives none when the thread is to end."""
        with self._told:
            self._told.wait_for(lambda: self._waiting or self._is_closing, _IDLE)
            if not self._waiting:
                self._thread = None
            users = list(islice(self._waiting, _KEYS_AT_ONCE))
            for user in users:
                del self._waiting[user]
            return users

    def _drop(self, users: list[str]) -> bool:
        pipeline = self._redis.pipeline(transaction=False)
        for user in users:
            pipeline.unlink(course_list_key(user))
        refusal: BaseException | None
        try:
            # an error that the pipeline raises itself has the key in it, and so the learner's id
            answers = pipeline.execute(raise_on_error=False)
            refusal = next((answer for answer in answers if isinstance(answer, redis.RedisError)), None)
        except (redis.RedisError, OSError) as error:
            refusal = error
        if refusal is None:
            self._reminder.reset()
        elif self._reminder.due("away", time.monotonic()):
            text = remedy(refusal, _LOGIN, _TLS)
            log.warning("cached course lists can't be dropped: learners see older ones for a while", error=text)
        return refusal is None

    def _shorten(self) -> None:
        for user in list(islice(self._waiting, max(0, len(self._waiting) - MOST_WAITING))):
            del self._waiting[user]
