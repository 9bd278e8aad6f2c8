"""Many learners' requests, drawn from a seed, sent at once, at a rate or so that there is always more to do.

Free of pytest: longer runs outside the tests use it too.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable
from random import Random
from types import TracebackType
from typing import Self

import redis
from confluent_kafka import KafkaException

from tests.faults.plan import Kind, plan
from tests.faults.verdict import Sightings, Verdict, judge
from tests.support.events import encoded, sync_event
from tests.support.installation import Installation
from tests.support.kafka import Sender
from tests.support.relations import CourseTree
from tests.support.tables import Learner, Row
from tests.support.waiting import wait_until

#: How often a sender looks whether there is more to send, in seconds.
_LOOKS_EVERY = 0.1
#: How many requests a sender sends at once to keep the processes busy.
_AT_ONCE = 200
#: How many requests may await Kafka's word.
_MOST_AT_ONCE = 2_000
#: How long Kafka may be away while something is sent, in seconds.
_OUTAGE_LIMIT = 180.0


class Sending:
    """A thread that sends requests; leaving the block, or `finish`, sends what remains and ends it."""

    def __init__(self, step: Callable[[], bool], rest: Callable[[], None]) -> None:
        self._step = step
        self._rest = rest
        self._ends = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sender of a load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.set()
        self._thread.join()
        if kind is None:
            self.finish()

    def finish(self) -> None:
        """End the thread and send what remains; raises what went wrong while sending."""
        self._ends.set()
        self._thread.join()
        if self._error is not None:
            raise self._error
        self._rest()

    def wait(self, limit: float) -> None:
        """Wait until the thread has sent everything by itself; AssertionError after `limit` seconds."""
        wait_until("everything is sent", lambda: not self._thread.is_alive(), limit)

    def _run(self) -> None:
        try:
            while self._step() and not self._ends.wait(_LOOKS_EVERY):
                pass
        except BaseException as error:  # noqa: BLE001 - it is raised where the load is waited for
            self._error = error


class Load:
    """Learners of several courses, what stands in the tables and relation sets for them, and their requests.

    Args:
        seed: what everything but the ids is drawn from.
        learners: how many learners there are.
        courses: how many courses they are spread over.
        clicks: how often a learner clicks at most; at least once.

    """

    def __init__(self, seed: int, learners: int, *, courses: int = 5, clicks: int = 3) -> None:
        self._random = Random(f"load {seed}")
        self._trees, self.planned = plan(self._random, learners, courses)
        self.learners = [it.learner for it in self.planned]
        requests = [learner for learner in self.learners for _ in range(self._random.randint(1, clicks))]
        self._random.shuffle(requests)
        #: The requests that are not sent yet.
        self.waiting = requests
        #: How many requests were sent.
        self.sent = 0
        self._sightings = Sightings()
        self._before: dict[Learner, Row] = {}
        self._began_ms = 0.0

    def prepare(self, site: Installation) -> Self:
        """Write tables and relation sets."""
        site.relations.fill(*self._trees)
        site.tables.add_consumption({it.learner: it.contents for it in self.planned})
        for is_completed in (False, True):
            chosen = [it for it in self.planned if (it.kind in (Kind.LONG_COMPLETED, Kind.REGRESSED)) is is_completed]
            if chosen:
                cells = {} if not is_completed else chosen[0].case["enrolment"]
                site.tables.add_enrolments([it.learner for it in chosen], **cells)
        self.observe(site)
        self._before = self._own_rows(site)
        self._began_ms = time.time() * 1000
        return self

    @property
    def trees(self) -> list[CourseTree]:
        """The relation sets of the load's courses."""
        return list(self._trees)

    def send_all(self, site: Installation) -> None:
        """Send every request that is not sent yet."""
        self.send_some(site, len(self.waiting))

    def send_some(self, site: Installation, count: int) -> None:
        """Send the next `count` requests, or as many as are left."""
        sender = _SteadySender(site)
        some = self._take(count)
        for at in range(0, len(some), _MOST_AT_ONCE):
            self._send(sender, some[at : at + _MOST_AT_ONCE])

    def at_rate(self, site: Installation, per_second: float) -> Sending:
        """Send the requests from a thread, so many a second; use it as a context."""
        sender = _SteadySender(site)
        began, sent_before = time.monotonic(), self.sent

        def step() -> bool:
            due = int((time.monotonic() - began) * per_second) - (self.sent - sent_before)
            self._send(sender, self._take(max(due, 0)))
            return bool(self.waiting)

        return Sending(step, lambda: self.send_all(site))

    def keep_busy(self, site: Installation, backlog: int, at_once: int = _AT_ONCE) -> Sending:
        """Send from a thread whenever fewer than `backlog` requests are unsettled; use it as a context.

        When all requests are sent, learners drawn at random click once more.
        """
        sender = _SteadySender(site)

        def step() -> bool:
            if _unsettled(site) < backlog:
                some = self._take(at_once)
                some += self._random.choices(self.learners, k=at_once - len(some))
                self._send(sender, some)
            return True

        return Sending(step, lambda: self.send_all(site))

    def observe(self, site: Installation) -> None:
        """Note who is completed now, so that the verdict knows who was and isn't any more."""
        self._sightings.add(self._own_rows(site))

    def verdict(self, site: Installation) -> Verdict:
        """Hold what the load left behind against the oracle; everything must be settled."""
        return judge(site, self.planned, self._before, self._sightings, self._began_ms)

    def _own_rows(self, site: Installation) -> dict[Learner, Row]:
        return site.tables.enrolments(self.learners)

    def _take(self, count: int) -> list[Learner]:
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        return taken

    def _send(self, sender: "_SteadySender", learners: list[Learner]) -> None:
        sender.send((learner.user.encode(), encoded(sync_event(learner))) for learner in learners)
        self.sent += len(learners)


class _SteadySender:
    """Sends through outages: what Kafka did not confirm in time is sent again, as by a learner who clicks again."""

    def __init__(self, site: Installation) -> None:
        self._place = site.ports.bootstrap, site.input_topic
        self._sender = Sender(*self._place)

    def send(self, records: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        """Send (key, value) pairs; raises AssertionError when Kafka does not take them for long."""
        kept = list(records)
        deadline = time.monotonic() + _OUTAGE_LIMIT
        while True:
            try:
                self._sender.send(kept)
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                # a client that was told of no brokers may never find one again (librdkafka, issue 5301)
                self._sender = Sender(*self._place)
            else:
                return


def _unsettled(site: Installation) -> float:
    """Count the requests that are not settled; beyond all bounds while a server that must be asked is away."""
    try:
        return sum(site.behind().values()) + site.open_count()
    except (redis.RedisError, KafkaException, TimeoutError, AssertionError):
        return math.inf
