"""One environment of the product: its topics, keyspace, relation sets and ledger, its bridge and workers."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from prometheus_client.parser import text_string_to_metric_families

from devstack.ports import HOST, Ports, different_ports, free_port
from devstack.security import Security
from devstack.topics import topic_names
from reconciliation.model import Origin
from reconciliation.requests import request_id
from tests.support.broker import broker_url, remove_queues
from tests.support.events import audit_learner, certificate_learner, encoded, sync_event
from tests.support.kafka import GroupOffsets, Received, Sender, Sent, TopicReader
from tests.support.processes import BRIDGE, WORKER, Process
from tests.support.relations import RelationSets
from tests.support.tables import Learner, Tables
from tests.support.waiting import USUAL_LIMIT, wait_until

Ended = subprocess.CompletedProcess[str]

#: How long a command of the operators may take, its start included, in seconds; one that is told to wait takes longer.
COMMAND_LIMIT = 60.0

_METRICS_PREFIX = "enrolment_reconciliation_"


@dataclass(frozen=True, slots=True)
class Announced:
    """The events that stand on the topics for one learner."""

    certificates: list[Received]
    audits: list[Received]


def unique(prefix: str) -> str:
    """Make an id that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def new_learner(course: str | None = None) -> Learner:
    """Name a learner that no other test uses, in a new course unless one is given."""
    return Learner(unique("user"), course or unique("do"), unique("batch"))


class Installation:
    """A bridge and a worker on names of their own; `start` starts all processes, leaving the block ends them in order.

    More bridges and workers join with `add_bridge` and `add_worker`.

    Args:
        ports: where the servers are.
        environment: ENV; its topics exist.
        keyspace: its tables exist.
        logs: a folder for the processes' output.
        settings: more variables for both processes.
        relation_database: where the relation sets lie.
        settings_alone: whether the processes are told nothing but `settings`.
        security: how the tests' own clients get in, where the servers ask for a user.

    """

    def __init__(
        self,
        ports: Ports,
        environment: str,
        keyspace: str,
        logs: Path,
        settings: Mapping[str, str] | None = None,
        relation_database: int = 10,
        *,
        settings_alone: bool = False,
        security: Security | None = None,
    ) -> None:
        self.ports = ports
        self.environment = environment
        self.keyspace = keyspace
        is_shadow = (settings or {}).get("SHADOW_ENABLED") == "true"
        self.group_id = f"{environment}-enrolment-reconciliation-group{'-shadow' if is_shadow else ''}"
        self.metrics_ports = dict(zip(("bridge", "worker"), different_ports(2), strict=True))
        own = {
            "ENV": environment,
            "KAFKA_BROKER_SERVERS": ports.bootstrap,
            "LMS_CASSANDRA_HOST": HOST,
            "LMS_CASSANDRA_PORT": str(ports.cassandra),
            "LMS_CASSANDRA_KEYSPACE": keyspace,
            "REDIS_HOST": HOST,
            "REDIS_PORT": str(ports.redis),
            "CELERY_BROKER_URL": broker_url(ports),
            "METRICS_BRIDGE_PORT": str(self.metrics_ports["bridge"]),
            "METRICS_WORKER_PORT": str(self.metrics_ports["worker"]),
        }
        self.settings = {**({} if settings_alone else own), **(settings or {})}
        self._logs = logs
        self._security = security
        self.bridges = [Process("bridge", BRIDGE, self.settings, logs / f"{environment}-bridge.log")]
        self.workers = [Process("worker", WORKER, self.settings, logs / f"{environment}-worker.log")]
        self.input_topic, self.failed_topic, self.audit_topic, self.certificate_topic = topic_names(environment)
        self._connect_kafka()
        self.tables = Tables(HOST, ports.cassandra, keyspace, security)
        login: dict[str, Any] = {}
        if security is not None:
            login = {"username": security.username, "password": security.password}
        self.relations = RelationSets(HOST, ports.redis, relation_database, login)
        # the ledger's, and the broker's where that is Redis; the client's types allow for decoded answers, which we
        # don't ask for
        self.redis: Any = redis.Redis(host=HOST, port=ports.redis, db=0, socket_timeout=20, **login)

    @property
    def bridge(self) -> Process:
        """The first bridge."""
        return self.bridges[0]

    @property
    def worker(self) -> Process:
        """The first worker."""
        return self.workers[0]

    @property
    def processes(self) -> tuple[Process, ...]:
        """The bridges, then the workers."""
        return *self.bridges, *self.workers

    def add_bridge(self, command: Sequence[str] = BRIDGE, settings: Mapping[str, str] | None = None) -> Process:
        """Add another bridge, not started, with a metrics port, a log and `settings` of its own."""
        process = self._another("bridge", len(self.bridges) + 1, command, settings)
        self.bridges.append(process)
        return process

    def add_worker(self, command: Sequence[str] = WORKER, settings: Mapping[str, str] | None = None) -> Process:
        """Add another worker, as `add_bridge` does; it gets a Celery name of its own, as on a host of its own."""
        number = len(self.workers) + 1
        process = self._another("worker", number, [*command, f"--hostname=worker-{number}@%h"], settings)
        self.workers.append(process)
        return process

    def start(self) -> Self:
        """Start every process."""
        for process in self.processes:
            process.start()
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.end()
        finally:
            for process in self.processes:
                process.kill()
            for part in (self.failed, self.audits, self.certificates, self.tables, self.relations):
                part.close()
            self.redis.close()
        if kind is None:
            remove_queues(self.settings, self.group_id)

    def reconnect_kafka(self) -> None:
        """Make our own clients of Kafka anew after it was away.

        One that was told of no brokers, as happens while they come back, may never find one again (librdkafka, issue
        5301).
        """
        for reader in (self.failed, self.audits, self.certificates):
            reader.close()
        self._connect_kafka()

    def end(self) -> None:
        """End all processes with SIGTERM and insist on exit code 0."""
        running = [process for process in self.processes if process.is_running]
        for process in running:
            process.wait_hearing()
            process.ask_to_end()
        for process in running:
            code = process.wait()
            assert code == 0, f"the {process.name} ended with {code} on SIGTERM\n{process.told()}"

    def send(self, *learners: Learner) -> list[Sent]:
        """Send a request for each learner, as the course service does."""
        return self.send_records((learner.user.encode(), encoded(sync_event(learner))) for learner in learners)

    def send_records(self, records: Iterable[tuple[bytes | None, bytes | None]]) -> list[Sent]:
        """Send (key, value) pairs to the input topic."""
        return self._sender.send(records)

    def sync(self, *learners: Learner, limit: float = USUAL_LIMIT) -> None:
        """Send a request for each learner and wait until all are settled."""
        self.send(*learners)
        self.wait_settled(limit)

    def wait_settled(self, limit: float = USUAL_LIMIT) -> None:
        """Wait until everything on the input topic is committed and the ledger holds nothing that is open."""
        wait_until(
            f"all requests of {self.environment} settled",
            lambda: self._watched(self._is_settled),
            limit,
        )
        left = self.leftovers()
        assert left == [], f"the ledger still holds {left}"

    def wait_counted(self, limit: float = USUAL_LIMIT) -> None:
        """Wait until the workers that run have counted all that they settled.

        The ledger is empty a moment before: an attempt counts what became of its requests after they are settled, and
        has them in hand until then. A scrape reads one metric after the other, so look only after this.
        """

        def are_counted() -> bool:
            self.watch()
            try:
                return not any(self.measured(it.name, "attempts_running") for it in self.workers if it.is_running)
            except OSError:
                # one that was just started
                return False

        wait_until("everything is counted", are_counted, limit)

    def wait_accepted(self, limit: float = USUAL_LIMIT) -> None:
        """Wait until everything on the input topic is committed, settled or not."""
        wait_until(
            f"all requests of {self.environment} accepted",
            lambda: self._watched(lambda: not self._offsets.behind()),
            limit,
        )

    def behind(self) -> dict[int, int]:
        """For each partition of the input topic how many records are not committed, where any are."""
        return self._offsets.behind()

    def committed(self) -> dict[int, int]:
        """For each partition of the input topic the offset that is committed, where there is one."""
        return self._offsets.committed()

    def open_count(self) -> int:
        """How many requests the ledger holds open."""
        return int(self.redis.get(self._ledger_prefix + "count") or 0)

    def spent(self) -> list[tuple[int, int]]:
        """Of each open entry of the ledger, how many attempts and how many waits it has behind it."""
        found = self._entries("attempts", "waits")
        return [(int(attempts), int(waits)) for attempts, waits in found if attempts is not None and waits is not None]

    def owe(self, sent: Sent, completed_on_ms: int) -> None:
        """Record a completion as owed, as an attempt does before it writes it."""
        self.redis.hset(self._ledger_prefix + "entry:" + self.entry_id(sent), "owed", completed_on_ms)

    def entry_id(self, sent: Sent) -> str:
        """The id that the request at this place has."""
        return request_id(Origin(self.input_topic, sent.partition, sent.offset, sent.timestamp_ms))

    def operate(self, *arguments: str, limit: float = COMMAND_LIMIT) -> str:
        """Run the operators' command line with these arguments; gives what it printed, insists on exit code 0."""
        ended = self.run_command(*arguments, limit=limit)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def run_command(
        self, *arguments: str, settings: Mapping[str, str] | None = None, limit: float = COMMAND_LIMIT
    ) -> Ended:
        """Run the operators' command line with more settings, however it ends within `limit` seconds."""
        command = [str(Path(sys.executable).with_name("enrolment-reconciliation")), *arguments]
        environment = {**self.settings, **(settings or {})}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit, check=False)

    def claimed_count(self) -> int:
        """How many entries of the ledger an attempt holds."""
        return self.entry_fields("state").count("claimed")

    def entry_fields(self, name: str) -> list[str | None]:
        """Of each open entry of the ledger what this field holds, None where it isn't set."""
        return [value.decode() if value is not None else None for (value,) in self._entries(name)]

    def leftovers(self) -> list[str]:
        """Keys of the ledger that belong to requests; none may be left when all are settled."""
        kept = ("count", "epoch", "paid:", "swept", "breaker", "rewind", "shadow:", "healing:", "bulk:run")
        names = [
            key.decode().removeprefix(self._ledger_prefix)
            for key in self.redis.scan_iter(self._ledger_prefix + "*", count=1000)
        ]
        return sorted(name for name in names if not name.startswith(kept))

    def announced(self, learner: Learner) -> Announced:
        """Return the events of one learner."""
        return Announced(
            [record for record in self.certificates.records() if certificate_learner(record) == learner],
            [record for record in self.audits.records() if audit_learner(record) == learner],
        )

    def failures(self, learner: Learner) -> list[dict[str, Any]]:
        """Return the failed events of one learner."""
        events = [record.event for record in self.failed.records()]
        return [event for event in events if event.get("edata", {}).get("userId") == learner.user]

    def metrics(self, process: str) -> dict[str, float]:
        """Scrape a process by its name, "bridge" or "worker-2"; gives our counters and gauges, without our prefix."""
        return {name: value for name, _, value in self._samples(process, _METRICS_PREFIX)}

    def measured(self, process: str, metric: str, **labels: str) -> float:
        """Scrape a process as `metrics` does; gives the sum of a metric's samples that have these labels."""
        wanted = set(labels.items())
        samples = self._samples(process, _METRICS_PREFIX + metric)
        return sum(value for name, found, value in samples if name == metric and wanted <= found.items())

    def _samples(self, process: str, prefix: str) -> list[tuple[str, dict[str, str], float]]:
        address = f"http://{HOST}:{self.metrics_ports[process]}/metrics"
        with urllib.request.urlopen(address, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        # the parser is slow, and this is asked again and again
        text = "\n".join(line for line in lines if line.startswith(prefix))
        return [
            (sample.name.removeprefix(_METRICS_PREFIX), sample.labels, sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]

    def health(self, process: str, path: str) -> tuple[int, dict[str, Any]]:
        """Ask a process by its name for /health/live or /health/ready, its `path`; gives the code and what it told.

        The code is 0 where nobody answers.
        """
        address = f"http://{HOST}:{self.metrics_ports[process]}/health/{path}"
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
        except OSError:
            return 0, {}

    @property
    def _ledger_prefix(self) -> str:
        return f"enrolment-reconciliation:{{{self.group_id}}}:"

    def _entries(self, *names: str) -> list[list[bytes | None]]:
        """Read these fields of each open entry of the ledger."""
        with self.redis.pipeline(transaction=False) as together:
            for key in self.redis.scan_iter(self._ledger_prefix + "entry:*", count=1000):
                together.hmget(key, *names)
            found: list[list[bytes | None]] = together.execute()
        return found

    def _connect_kafka(self) -> None:
        bootstrap = self.ports.bootstrap
        login = None if self._security is None else self._security.kafka_client()
        self.failed = TopicReader(bootstrap, self.failed_topic, login)
        self.audits = TopicReader(bootstrap, self.audit_topic, login)
        self.certificates = TopicReader(bootstrap, self.certificate_topic, login)
        self._sender = Sender(bootstrap, self.input_topic, login)
        self._offsets = GroupOffsets(bootstrap, self.input_topic, self.group_id, login)

    def _is_settled(self) -> bool:
        # in this order: what is committed is in the ledger already
        return not self._offsets.behind() and self.open_count() == 0

    def watch(self) -> None:
        """Look after the processes while something is waited for: AssertionError when one ended by itself."""
        for process in self.processes:
            process.check_alive()

    def _another(self, role: str, number: int, command: Sequence[str], settings: Mapping[str, str] | None) -> Process:
        name = f"{role}-{number}"
        self.metrics_ports[name] = free_port(self.metrics_ports.values())
        own = {f"METRICS_{role.upper()}_PORT": str(self.metrics_ports[name]), **(settings or {})}
        return Process(name, command, {**self.settings, **own}, self._logs / f"{self.environment}-{name}.log")

    def _watched(self, look: Callable[[], bool]) -> bool:
        self.watch()
        return look()
