"""Kafka 4.1 in KRaft mode: one node that is broker and controller."""

import base64
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar
from uuid import UUID, uuid4

from confluent_kafka.admin import AdminClient

from devstack.errors import DevstackError
from devstack.java import temporary_folder
from devstack.java_server import JavaServer
from devstack.ports import HOST, internal_port
from devstack.server import Place

HEAP_MEGABYTES = 400
_FORMAT_LIMIT_SECONDS = 60.0

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=4
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
log.segment.bytes=67108864
log.cleaner.dedupe.buffer.size=8388608
"""

_LOGGING = """\
rootLogger.level=info
rootLogger.appenderRef.console.ref=console
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %-5p %c{1} %m%n
"""


def cluster_id(draw: Callable[[], UUID] = uuid4) -> str:
    """Return a new cluster's id as Kafka writes it, 22 characters of base64 for URLs, made of what `draw` gives.

    One in 64 would begin with "-", which the tool that formats the data takes for an option: another is drawn then,
    as Kafka itself does (org.apache.kafka.common.Uuid, randomUuid).
    """
    while (written := base64.urlsafe_b64encode(draw().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return written


class KafkaServer(JavaServer):
    """One Kafka node; topics are made by request only, never by use."""

    name: ClassVar[str] = "kafka"

    def __init__(self, place: Place) -> None:
        super().__init__(place, place.ports.kafka)

    def command(self) -> Sequence[str]:
        """Write the configuration, format the data folder when it is new, and return the command line."""
        data = self.folder / "data"
        controller = internal_port(self.folder / "controller-port", self.place.ports)
        properties = self.folder / "server.properties"
        properties.write_text(_PROPERTIES.format(host=HOST, port=self.port, controller=controller, data=data))
        logging = self.folder / "log4j2.properties"
        logging.write_text(_LOGGING)
        temporary = temporary_folder(self.folder)
        java = [str(self._java), "-cp", f"{self._jars}/*", f"-Dlog4j2.configurationFile={logging}", temporary]
        if not (data / "meta.properties").exists():
            self._format([*java, "-Xmx128m", "-XX:TieredStopAtLevel=1"], properties)
        options = [f"-Xms{HEAP_MEGABYTES}m", f"-Xmx{HEAP_MEGABYTES}m", "-XX:+UseSerialGC", "-Djava.awt.headless=true"]
        crash = f"-XX:ErrorFile={self.folder}/crash-%p.log"
        return [*java, *options, crash, "kafka.Kafka", str(properties)]

    def request(self, limit: float) -> None:
        """Ask for the cluster's metadata until a broker and a controller are there."""
        # log_level 0: until the broker is up the client would write each refused connection to stderr.
        client = AdminClient({"bootstrap.servers": self.place.ports.bootstrap, "log_level": 0})
        client.describe_cluster(request_timeout=limit).result(timeout=limit + 1)

    def _format(self, java: Sequence[str], properties: Path) -> None:
        command = [*java, "kafka.tools.StorageTool", "format", "-t", cluster_id(), "-c", str(properties)]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, timeout=_FORMAT_LIMIT_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            reason = f"its data folder was not formatted within {_FORMAT_LIMIT_SECONDS:.0f} s"
            raise DevstackError(self.name, reason, "End other loads on this machine, then start again.") from error
        if answer.returncode:
            raise DevstackError(
                self.name,
                f"its data folder could not be formatted (exit code {answer.returncode})",
                "Check free memory and disk space, run `python -m devstack down --delete`, then start again.",
                "\n".join((answer.stdout + answer.stderr).splitlines()[-15:]),
            )
