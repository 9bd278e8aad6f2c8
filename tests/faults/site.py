"""One environment under a supervisor: several bridges and workers, real processes that faults are done to.

Free of pytest: longer runs outside the tests use it too.
"""

import re
import urllib.error
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Self

from devstack.ports import HOST, Ports
from devstack.schema import AggregateLayout, create_keyspace
from devstack.topics import create_topics, topic_names
from tests.support.installation import Installation, unique
from tests.support.processes import GRACE_SECONDS, Process
from tests.support.waiting import wait_until

#: Waits so short that a test sees leases lapse and sweeps come round, and groups so small that much stands open.
FAST: Mapping[str, str] = {
    "LEDGER_LEASE": "4",
    "LEDGER_SWEEP_AFTER": "1.5",
    # not longer than a test has patience for
    "LEDGER_SWEEP_MAX_WAIT": "20",
    "LEDGER_SWEEP_INTERVAL": "0.2",
    "OUTAGE_BACKOFF_MOST": "2",
    "LMS_CASSANDRA_TIMEOUT": "5",
}

#: Beside these for sites of which no worker dies and nothing may be repeated: a lease that lapses while a busy machine
#: lets a worker wait repeats what it holds.
PATIENT: Mapping[str, str] = {"LEDGER_LEASE": "30"}

#: For sites whose requests have one try: a busy Cassandra that takes longer is not to spend it.
ONE_TRY: Mapping[str, str] = {"RETRY_ATTEMPTS": "1", "LMS_CASSANDRA_TIMEOUT": "30"}

#: How long a process may take to be up and at work, in seconds; machines of a CI are slow.
UP_LIMIT = 120.0


class Site(Installation):
    """An installation whose processes are started again when they end unasked, as operators run them.

    Args:
        ports: where the servers are.
        environment: ENV; its topics exist.
        keyspace: its tables exist.
        logs: a folder for the processes' output.
        settings: more variables for all processes.
        workers: how many workers there are.
        bridges: how many bridges there are.

    """

    def __init__(
        self,
        ports: Ports,
        environment: str,
        keyspace: str,
        logs: Path,
        settings: Mapping[str, str] | None = None,
        *,
        workers: int = 2,
        bridges: int = 1,
    ) -> None:
        super().__init__(ports, environment, keyspace, logs, settings)
        for _ in range(workers - 1):
            self.add_worker()
        for _ in range(bridges - 1):
            self.add_bridge()
        #: How often each process, by its name, ended by itself and was started again.
        self.restarts: Counter[str] = Counter()
        #: A process that ends by itself more often is broken, and starting it again and again shows nothing.
        self.most_restarts = 30
        #: How often each process was killed by us.
        self.kills: Counter[str] = Counter()
        self._wanted: list[Process] = []
        self._killed: set[str] = set()

    @classmethod
    def build(
        cls,
        ports: Ports,
        logs: Path,
        settings: Mapping[str, str] | None = None,
        *,
        workers: int = 2,
        bridges: int = 1,
    ) -> Self:
        """Make the topics and the keyspace of a new environment, and its site. Raises DevstackError."""
        environment = unique("site")
        create_topics(ports.bootstrap, topic_names(environment))
        keyspace = environment.replace("-", "_")
        create_keyspace(HOST, ports.cassandra, keyspace, AggregateLayout.USER_IN_PARTITION)
        return cls(ports, environment, keyspace, logs, settings, workers=workers, bridges=bridges)

    def start(self) -> Self:
        """Start every process that does not run; all of them are supervised from now on."""
        return self.run(*self.processes)

    def run(self, *processes: Process) -> Self:
        """Start these processes and supervise them from now on."""
        for process in processes:
            if process not in self._wanted:
                self._wanted.append(process)
            if not process.is_running:
                process.start()
        return self

    def supervise(self) -> None:
        """Start again whatever ended; those that ended by themselves are counted in `restarts`.

        Raises AssertionError when a process does so without end.
        """
        for process in self._wanted:
            if process.is_running:
                continue
            if process.name in self._killed:
                self._killed.discard(process.name)
            else:
                self.restarts[process.name] += 1
                if self.restarts[process.name] > self.most_restarts:
                    raise AssertionError(f"the {process.name} ends again and again\n{process.told()}")
            process.start()

    def watch(self) -> None:
        """Supervise, whenever something is waited for."""
        self.supervise()

    def kill(self, process: Process) -> None:
        """End a process with SIGKILL; the next `supervise` starts it again."""
        process.kill()
        self.kills[process.name] += 1
        self._killed.add(process.name)

    def dismiss(self, *processes: Process) -> None:
        """Supervise these processes no more: however they end, they stay away until `run`."""
        self._wanted = [process for process in self._wanted if process not in processes]

    def stop(self, *processes: Process) -> None:
        """End these processes with SIGTERM, insist on exit code 0, and leave them so until `run`."""
        self.dismiss(*processes)
        for process in processes:
            process.wait_hearing()
            process.ask_to_end()
        for process in processes:
            code = process.wait(GRACE_SECONDS)
            assert code == 0, f"the {process.name} ended with {code} on SIGTERM\n{process.told()}"

    def end(self) -> None:
        """End every process that runs, as `stop` does."""
        self.stop(*(process for process in self.processes if process.is_running))

    def wait_for(self, what: str, look: Callable[[], object], limit: float) -> None:
        """Supervise until `look` gives something true; AssertionError after `limit` seconds."""

        def watched() -> object:
            self.supervise()
            return look()

        wait_until(what, watched, limit)

    def _is_settled(self) -> bool:
        # Redis may have forgotten what was open: as long as no bridge has gone back for it, nothing is settled
        return self._is_marked_now() and super()._is_settled()

    def _is_marked_now(self) -> bool:
        """Say whether every commit was made under the present life of the ledger's Redis, and after the last rewind."""
        marks = self._offsets.marks().values()
        epoch = self.redis.get(self._ledger_prefix + "epoch") or b""
        rewind = self.redis.hget(self._ledger_prefix + "rewind", "id") or b""
        present = epoch.decode(), self.redis.info("server")["run_id"], rewind.decode()
        return all((mark.get("epoch"), mark.get("run"), mark.get("rewind", "")) == present for mark in marks)

    def work_done(self, process: Process) -> float:
        """How many records a bridge took, or requests a worker settled, since its start; -1 while it is not up."""
        counter = "total_events_count_total" if process in self.bridges else "success_events_count_total"
        try:
            return self.measured(process.name, counter)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return -1.0

    def wait_shared_out(self, limit: float = UP_LIMIT) -> None:
        """Supervise until every bridge has been given partitions: later, its arrival would take them from others."""
        given = re.compile(r"partitions assigned .*partitions=\[\d")
        self.wait_for(
            "each bridge has partitions", lambda: all(given.search(bridge.output()) for bridge in self.bridges), limit
        )

    def wait_ready(self) -> None:
        """Supervise until every process that was started has reached its servers (/health/ready)."""
        started = [process.name for process in self.processes if process in self._wanted]
        self.wait_for("all are ready", lambda: all(self.health(name, "ready")[0] == 200 for name in started), UP_LIMIT)

    def wait_working(self, process: Process, amount: float = 1, limit: float = UP_LIMIT) -> None:
        """Supervise until a process has done this much since its start (see `work_done`)."""
        self.wait_for(f"the {process.name} at work", lambda: self.work_done(process) >= amount, limit)

    def kill_at_random(self, random: Random, times: int, within: int = 50) -> None:
        """Kill one process after the other, so many times, each after it has done 1 to `within` pieces of work.

        Something must keep them busy meanwhile.
        """
        for _ in range(times):
            process = random.choice(self.processes)
            self.wait_working(process, random.randint(1, within))
            self.kill(process)
        self.supervise()
