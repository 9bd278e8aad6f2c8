"""RabbitMQ, from an installed package such as Debian's rabbitmq-server: no Python package brings it."""

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from kombu import Connection

from devstack.errors import DevstackError
from devstack.ports import HOST, internal_port
from devstack.process import DetachedProcess
from devstack.server import Place, Server, unheard

# Where Debian and Fedora put the scripts themselves. Those on PATH there change to a user of the package's own.
_SCRIPTS = Path("/usr/lib/rabbitmq/bin")
_NODE = "devstack@localhost"
_EPMD_LIMIT_SECONDS = 2.0
_CONTROL_LIMIT_SECONDS = 120.0
_ON_THIS_MACHINE = "-kernel inet_dist_use_interface {127,0,0,1}"

_CONFIGURATION = """\
listeners.tcp.1 = {host}:{port}
# small machines: the log of all quorum queues is begun anew sooner
raft.wal_max_size_bytes = 64000000
"""


def _candidates() -> Iterator[Path]:
    yield _SCRIPTS
    found = shutil.which("rabbitmq-server")
    if found:
        yield Path(found).parent


def find_rabbitmq() -> Path:
    """Return the folder of RabbitMQ's scripts; raises DevstackError where there is none, or no Erlang beside it."""
    for folder in _candidates():
        if (folder / "rabbitmq-server").exists() and shutil.which("epmd"):
            return folder
    raise DevstackError(
        "rabbitmq",
        "no rabbitmq-server with its Erlang was found",
        "Install it: on Debian and Ubuntu `apt-get install --no-install-recommends rabbitmq-server`.",
    )


class RabbitMqServer(Server):
    """One node, run by whoever calls; its data, cookie and logs lie in the stack's folder. Its user is guest.

    Erlang's port mapper (epmd) is a process of its own, which comes and goes with the server, but stays when that is
    killed.
    """

    name: ClassVar[str] = "rabbitmq"
    start_limit: ClassVar[float] = 120.0
    end_limit: ClassVar[float] = 60.0

    def __init__(self, place: Place, port: int) -> None:
        super().__init__(place, port)
        self._scripts = Path()
        self._mapper = DetachedProcess(self.folder / "epmd")
        self._mapper_port = self.folder / "epmd-port"
        self._node_port = self.folder / "node-port"

    @property
    def url(self) -> str:
        """Its address as Celery takes it."""
        return f"amqp://guest:guest@{HOST}:{self.port}//"

    def prepare(self, report: Callable[[str], None]) -> None:
        """Find the program."""
        report("looking for the program")
        self._scripts = find_rabbitmq()

    def command(self) -> Sequence[str]:
        """Write the configuration and return the command line."""
        configuration = self.folder / "rabbitmq.conf"
        configuration.write_text(_CONFIGURATION.format(host=HOST, port=self.port))
        plugins = self.folder / "enabled_plugins"
        plugins.write_text("[].\n")
        internal_port(self._node_port, self.place.ports)
        return [
            *self._environment(
                RABBITMQ_CONFIG_FILE=configuration,
                RABBITMQ_ADVANCED_CONFIG_FILE=self.folder / "advanced.config",
                RABBITMQ_ENABLED_PLUGINS_FILE=plugins,
                RABBITMQ_MNESIA_BASE=self.folder / "data",
                RABBITMQ_LOG_BASE=self.folder / "log",
                RABBITMQ_LOGS="-",
                RABBITMQ_DIST_PORT=self._node_port.read_text(),
                # The script then becomes Erlang's process, whose id we know, and waits for no other.
                RABBITMQ_ALLOW_INPUT=1,
                RABBITMQ_SERVER_START_ARGS="-noinput",
                RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=_ON_THIS_MACHINE,
            ),
            str(self._scripts / "rabbitmq-server"),
        ]

    def request(self, limit: float) -> None:
        """Log in and open a channel."""
        limits = {"read_timeout": limit, "write_timeout": limit}
        # its types leave out what channels and connections do
        connection: Any = Connection(self.url, connect_timeout=limit, transport_options=limits)
        try:
            connection.connect()
            connection.channel().close()
        finally:
            connection.close()

    def start(self, report: Callable[[str], None] = unheard, cancelled: threading.Event | None = None) -> None:
        """Start the port mapper, and then as every server."""
        find_rabbitmq()
        self._mapper.end(_EPMD_LIMIT_SECONDS)
        self.folder.mkdir(parents=True, exist_ok=True)
        port = internal_port(self._mapper_port, self.place.ports)
        self._mapper.spawn([str(shutil.which("epmd")), "-address", HOST, "-port", str(port)])
        try:
            super().start(report, cancelled)
        except BaseException:
            self._mapper.end(_EPMD_LIMIT_SECONDS)
            raise

    def end(self) -> None:
        """End the server in order, then the port mapper."""
        super().end()
        self._mapper.end(_EPMD_LIMIT_SECONDS)

    def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl` with these arguments; gives what it printed. Raises DevstackError where it fails."""
        command = [*self._environment(RABBITMQ_CTL_ERL_ARGS=_ON_THIS_MACHINE), str(find_rabbitmq() / "rabbitmqctl")]
        try:
            ended = subprocess.run(
                [*command, "--quiet", *arguments],
                capture_output=True,
                text=True,
                timeout=_CONTROL_LIMIT_SECONDS,
                check=True,
            )
        except subprocess.CalledProcessError as error:
            raise DevstackError(self.name, f"rabbitmqctl: {error.stderr or error.stdout}", "See its log.") from error
        return ended.stdout

    def _environment(self, **variables: object) -> list[str]:
        """Give what both scripts are told, as the beginning of a command line."""
        every = {
            # the cookie by which server and rabbitmqctl know each other lies there
            "HOME": self.folder,
            "RABBITMQ_NODENAME": _NODE,
            # the machine's own configuration is none of ours
            "RABBITMQ_CONF_ENV_FILE": self.folder / "rabbitmq-env.conf",
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": self._mapper_port.read_text(),
            **variables,
        }
        return ["/usr/bin/env", *(f"{name}={value}" for name, value in every.items())]
