"""A site on which one worker can be frozen or killed at exactly one step, while another sees the servers directly."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from devstack.ports import Ports
from devstack.schema import AggregateLayout
from tests.conftest import MakeEnvironment, MakeKeyspace
from tests.faults.site import FAST, Site
from tests.support.cassandra_proxy import (
    CassandraProxy,
    Matches,
    Request,
    aggregate_write,
    completion_write,
    enrolment_read,
)
from tests.support.checks import progress_of
from tests.support.events import check_audit, check_certificate
from tests.support.installation import new_learner
from tests.support.kafka_proxy import KafkaProxy
from tests.support.processes import WORKER, Process
from tests.support.redis_proxy import RedisProxy, ledger_step
from tests.support.relations import course_of_units
from tests.support.relay import Treatment
from tests.support.tables import Learner, Row
from tests.support.waiting import wait_until

#: How long a step may take to come, or everything to be done, in seconds: leases, sweeps and a slow machine included.
LIMIT = 120.0

CONTENTS = ("a", "b")

_HOUR_US = 3_600_000_000

#: Leases end soon, so that another worker goes on soon; each request is a task of its own.
SETTINGS = {
    "LEDGER_LEASE": "3",
    "LEDGER_SWEEP_AFTER": "2",
    "LEDGER_SWEEP_INTERVAL": "0.1",
    "RETRY_BACKOFF_FIRST": "0.2",
    "BRIDGE_GROUP_SIZE": "1",
    # a held request is not to be given up before the test lets it go
    "LMS_CASSANDRA_TIMEOUT": "60",
    "KAFKA_TIMEOUT": "60",
    "REDIS_TIMEOUT": "60",
}


def now_us() -> int:
    """Give the time in microseconds."""
    return time.time_ns() // 1000


class Stage:
    """Proxies before all servers, a `far` worker behind them and a `near` one that uses none; neither runs at first.

    Args:
        site: has one worker, which becomes the near one; the bridge starts with the block.
        command: starts the far worker.

    """

    def __init__(self, site: Site, command: Sequence[str] = WORKER) -> None:
        self.site = site
        self.cassandra = CassandraProxy(site.ports.cassandra)
        self.kafka = KafkaProxy(site.ports.kafka)
        self.ledger = RedisProxy(site.ports.redis)
        self.near = site.worker
        self.far = site.add_worker(
            command,
            settings={
                **self.cassandra.settings,
                "KAFKA_BROKER_SERVERS": self.kafka.bootstrap,
                "LEDGER_REDIS_URL": self.ledger.url,
            },
        )
        self._proxies = ExitStack()

    @classmethod
    @contextmanager
    def opened(
        cls,
        ports: Ports,
        make_environment: MakeEnvironment,
        shared_keyspace: MakeKeyspace,
        logs: Path,
        settings: Mapping[str, str] | None = None,
    ) -> Iterator[Self]:
        """Make a stage, on a site of its own, that many tests may share; `settings` are more variables."""
        keyspace = shared_keyspace(AggregateLayout.USER_IN_PARTITION)
        site = Site(ports, make_environment(), keyspace, logs, {**FAST, **SETTINGS, **(settings or {})}, workers=1)
        with site, cls(site) as made:
            yield made

    def __enter__(self) -> Self:
        for proxy in (self.cassandra, self.kafka, self.ledger):
            self._proxies.enter_context(proxy)
        self.site.run(self.site.bridge)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()
        self._proxies.close()

    def clear(self) -> None:
        """Kill both workers and throw away what the proxies hold; the bridge goes on."""
        for worker in (self.far, self.near):
            worker.kill()
        for proxy in (self.cassandra, self.kafka, self.ledger):
            proxy.forget_faults()

    def add_learner(self, *, completed: int = len(CONTENTS), **cells: object) -> Learner:
        """Make a learner who has opened both contents of a course and completed so many of them; not asked for yet.

        `cells` are cells of the enrolment, whose status is 1 otherwise; it was written an hour ago.
        """
        learner = new_learner()
        self.site.relations.fill(course_of_units(learner.course, {f"unit-of-{learner.course}": set(CONTENTS)}))
        self.complete(learner, completed)
        self.site.tables.add_enrolments([learner], stamp_us=now_us() - _HOUR_US, **cells)
        return learner

    def complete(self, learner: Learner, completed: int = len(CONTENTS)) -> None:
        """Let the learner complete so many contents."""
        statuses = {content: 2 if number < completed else 1 for number, content in enumerate(CONTENTS)}
        self.site.tables.add_consumption({learner: statuses})

    def lose_alone(self, learner: Learner) -> None:
        """Ask for the learner, and have the far worker die with nothing else in hand and nothing owed yet.

        The request goes on in a process of its own.
        """
        aggregates = self.cassandra.fault(Treatment.HOLD_REQUEST, aggregate_write)
        self.site.send(learner)
        self.far.start()
        aggregates.wait(1, LIMIT)
        self.far.kill()
        aggregates.forget()

    def overtake_a_frozen_completion(self, learner: Learner, *, clicks: int) -> None:
        """Freeze the far worker before it writes a completion, until another has looked and plans one of its own.

        The far one writes and announces its own then, before the other goes on; `clicks` requests ask for it.
        """
        ended = self.attempts_ended(self.far)
        written = self.cassandra.fault(Treatment.HOLD_REQUEST, completion_write, most=1)
        self.site.send(learner)
        if not self.far.is_running:
            self.far.start()
        written.wait(1, LIMIT)
        self.far.freeze()
        for _ in range(clicks - 1):
            self.site.send(learner)
        wait_until("its lease lapses", lambda: self.site.entry_fields("state") == ["waiting"] * clicks, LIMIT)
        with RedisProxy(self.site.ports.redis) as ledger:
            owing = ledger.fault(Treatment.HOLD_REQUEST, ledger_step("owe"), most=1)
            another = self.site.add_worker(settings={"LEDGER_REDIS_URL": ledger.url})
            another.start()
            owing.wait(1, LIMIT)
            written.end()
            self.far.thaw()
            self.site.wait_for("the far attempt ends", lambda: self.attempts_ended(self.far) > ended, LIMIT)
            owing.end()
            self.wait_settled()
            another.kill()

    def own_processes(self) -> list[psutil.Process]:
        """Give the processes of their own that the far worker has; one alone, unless a lease ended before its time."""
        own = [it for it in psutil.Process(self.far.pid).children() if "tasks.isolated" in it.cmdline()]
        assert own
        return own

    def wait_certified(self, learner: Learner, count: int = 1) -> None:
        """Wait until so many certificate events of the learner lie on the topic."""
        wait_until("the certificate event", lambda: len(self.site.announced(learner).certificates) >= count, LIMIT)

    def owed_on(self) -> int | None:
        """Give the completedon that the ledger holds as a debt, None where none is recorded."""
        found = [on for on in self.site.entry_fields("owed") if on]
        return int(found[0]) if found else None

    def reads_back(self, learner: Learner) -> Matches:
        """Match the reads of a learner's enrolment that follow the write of the completion."""

        def is_after_the_write(request: Request) -> bool:
            return (
                enrolment_read(request)
                and request.names(learner.user)
                and any(completion_write(it) and it.names(learner.user) for it in self.cassandra.answered)
            )

        return is_after_the_write

    def wait_settled(self) -> None:
        """Wait until nothing is open."""
        self.site.wait_settled(LIMIT)

    def attempts_ended(self, worker: Process) -> int:
        """Count the attempts whose end a worker has told; a message that came late began none."""
        return sum("a task ended" in line and "stale=0" in line for line in worker.output().splitlines())

    def row(self, learner: Learner) -> Row:
        """Give the learner's enrolment, which must be there."""
        row = self.site.tables.enrolment(learner)
        assert row is not None
        return row

    def check_completed(self, learner: Learner, *, completed_on: int | None = None) -> Row:
        """Insist on a completion that is whole: rows, at least one event of each kind, and one mid for all repeats."""
        row = self.row(learner)
        assert progress_of(self.site, learner) == (2, len(CONTENTS), dict.fromkeys(CONTENTS, 2))
        assert completed_on in {None, row["completedon"]}
        count = float(len(CONTENTS))
        expected = {learner.course: count, f"unit-of-{learner.course}": count}
        assert self.site.tables.completed_counts(learner) == expected
        announced = self.site.announced(learner)
        assert announced.certificates
        assert announced.audits
        for certificate in announced.certificates:
            check_certificate(certificate, learner, row["completedon"])
        for audit in announced.audits:
            check_audit(audit, learner)
        assert len({record.event["mid"] for record in announced.certificates}) == 1
        assert len({record.event["mid"] for record in announced.audits}) == 1
        assert self.site.failures(learner) == []
        return row

    def check_completed_once(self, learner: Learner) -> Row:
        """Insist on the same, and that each event lies there once."""
        row = self.check_completed(learner)
        announced = self.site.announced(learner)
        assert (len(announced.certificates), len(announced.audits)) == (1, 1)
        return row
