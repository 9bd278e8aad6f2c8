"""A stack: Kafka, Cassandra and Redis as local processes that share a folder."""

import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devstack.cassandra import VERSIONS, CassandraServer
from devstack.errors import DevstackError, StartCancelledError
from devstack.kafka import KafkaServer
from devstack.ports import HOST, Ports, port_of
from devstack.rabbitmq import RabbitMqServer
from devstack.redis import RedisServer
from devstack.schema import DEFAULT_KEYSPACE, create_hierarchy_store, create_keyspace, hierarchy_store
from devstack.security import Security
from devstack.server import Place, Server
from devstack.topics import create_topics, topic_names

Report = Callable[[str, str], None]


def _unheard(_server: str, _message: str) -> None:
    """Take a step's report where nobody listens."""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """How a server fares: its pid (None: not running), and whether it answered a real request."""

    name: str
    address: str
    pid: int | None
    answers: bool


def project_folder() -> Path:
    """Return the repository's root when this package lies in one, else the current directory."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "pyproject.toml").exists() else Path.cwd()


def packages_cache() -> Path:
    """Return where packages are kept for all stacks: DEVSTACK_CACHE, else .cache/devstack of the repository."""
    return Path(os.environ.get("DEVSTACK_CACHE") or project_folder() / ".cache" / "devstack").absolute()


class Stack:
    """Three servers on `ports`, their data in `directory`. Names are "kafka", "cassandra" and "redis".

    `environment` is what the topics are made for, `keyspace` what the tables are made in; `cache` holds the packages
    that all stacks share (default: `packages_cache`). With `as_in_production` Cassandra acknowledges writes before they
    are on disk, and Java compiles for hours instead of minutes, as installations do. `security` makes all three ask for
    a user. `cassandra` is the version of Cassandra, one of `devstack.cassandra.VERSIONS`. With `rabbitmq_port` a
    RabbitMQ joins them, "rabbitmq", which must be installed (devstack/rabbitmq.py).
    """

    def __init__(
        self,
        directory: Path,
        ports: Ports | None = None,
        *,
        environment: str = "local",
        keyspace: str = DEFAULT_KEYSPACE,
        cache: Path | None = None,
        as_in_production: bool = False,
        security: Security | None = None,
        rabbitmq_port: int | None = None,
        cassandra: str = VERSIONS[0],
    ) -> None:
        self.ports = ports or Ports()
        self.directory = directory.absolute()
        self._environment = environment
        self._keyspace = keyspace
        self._security = security
        kept = packages_cache() if cache is None else cache.absolute()
        place = Place(self.directory, kept, self.ports, security, as_in_production)
        self._cassandra = CassandraServer(place, version=cassandra)
        servers: list[Server] = [KafkaServer(place), self._cassandra, RedisServer(place)]
        if rabbitmq_port is not None:
            servers.append(RabbitMqServer(place, rabbitmq_port))
        self.servers: dict[str, Server] = {server.name: server for server in servers}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Stack":
        """Return the stack that DEVSTACK_DIR, DEVSTACK_…_PORT, ENV and LMS_CASSANDRA_KEYSPACE describe.

        DEVSTACK_CASSANDRA is the version of Cassandra.
        """
        return cls(
            Path(environment.get("DEVSTACK_DIR") or project_folder() / ".devstack"),
            Ports.from_environment(environment),
            environment=environment.get("ENV", "").strip() or "local",
            keyspace=environment.get("LMS_CASSANDRA_KEYSPACE") or DEFAULT_KEYSPACE,
            rabbitmq_port=port_of(RabbitMqServer.name, environment),
            cassandra=environment.get("DEVSTACK_CASSANDRA", "").strip() or VERSIONS[0],
        )

    def server(self, name: str) -> Server:
        """Return the server called "kafka", "cassandra", "redis" or "rabbitmq", for faults and for its pid."""
        return self.servers[name]

    def up(self, report: Report = _unheard) -> None:
        """Start what does not answer, side by side, and return when all have answered a real request.

        Topics and tables are there then. Raises DevstackError when a server can't be had; whatever this call started
        is ended by then, and what ran before goes on.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DevstackError("stack", str(error), "Choose a folder that can be written: DEVSTACK_DIR=…") from error
        with self._turn():
            cancelled = threading.Event()
            started: list[Server] = []
            try:
                self._start_missing(report, cancelled, started)
                options = None if self._security is None else self._security.kafka_client()
                create_topics(self.ports.bootstrap, topic_names(self._environment), options=options)
                report("kafka", f"ready on {self.ports.bootstrap}, topics of ENV {self._environment} are there")
                self._cassandra.create_user()
                create_keyspace(HOST, self.ports.cassandra, self._keyspace, security=self._security)
                store = hierarchy_store(self._environment)
                if store is not None:
                    create_hierarchy_store(HOST, self.ports.cassandra, store, self._security)
                report("cassandra", f"ready on {HOST}:{self.ports.cassandra}, keyspace {self._keyspace} is there")
            except BaseException:
                cancelled.set()
                self._end(started, report)
                raise

    def down(self, report: Report = _unheard, *, delete: bool = False) -> None:
        """End all servers and wait until they are gone. Their data stays, unless `delete` is set."""
        if not self.directory.is_dir():
            return
        with self._turn():
            self._end(list(self.servers.values()), report)
            if delete:
                for server in self.servers.values():
                    shutil.rmtree(server.folder, ignore_errors=True)
                report("stack", f"removed the data in {self.directory}")
        if delete:
            (self.directory / "turn").unlink(missing_ok=True)
            # Only what is ours was removed: a folder that holds anything else stays.
            if not any(self.directory.iterdir()):
                self.directory.rmdir()

    def status(self) -> tuple[ServerStatus, ...]:
        """Ask each server for a real answer and return how it fares."""
        return tuple(
            ServerStatus(server.name, f"{HOST}:{server.port}", server.pid, server.answers())
            for server in self.servers.values()
        )

    def _start_missing(self, report: Report, cancelled: threading.Event, started: list[Server]) -> None:
        def start(server: Server) -> None:
            def tell(message: str) -> None:
                # Reached between packages, too: nobody waits for the rest of them when another server can't be had.
                if cancelled.is_set():
                    raise StartCancelledError
                report(server.name, message)

            try:
                if server.answers():
                    report(server.name, f"already running on {HOST}:{server.port}, process {server.pid}")
                    return
                if server.pid is not None:
                    report(server.name, f"runs but does not answer: ending process {server.pid}")
                    server.end()
                started.append(server)
                server.start(tell, cancelled)
            except BaseException:
                cancelled.set()
                raise

        with ThreadPoolExecutor(len(self.servers)) as pool:
            waiting = [pool.submit(start, server) for server in self.servers.values()]
            try:
                problems = [problem for future in waiting if (problem := future.exception())]
            except BaseException:
                # Ctrl-C: the pool's end waits for the threads, which leave as soon as they see this.
                cancelled.set()
                raise
        real = [problem for problem in problems if not isinstance(problem, StartCancelledError)]
        if real:
            raise real[0]

    @staticmethod
    def _end(servers: list[Server], report: Report) -> None:
        def end(server: Server) -> None:
            pid = server.pid
            server.end()
            report(server.name, f"ended process {pid}" if pid else "is not running")

        with ThreadPoolExecutor(max(len(servers), 1)) as pool:
            list(pool.map(end, servers))

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Let two commands on one folder work one after the other."""
        with (self.directory / "turn").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DevstackError(
                    "stack",
                    f"another command is at work on {self.directory}",
                    "Wait until it ends, then run this one again; or choose another folder with DEVSTACK_DIR.",
                ) from None
            yield
