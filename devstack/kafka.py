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
from devstack.security import Security
from devstack.server import Place

HEAP_MEGABYTES = 400
_FORMAT_LIMIT_SECONDS = 60.0

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
controller.listener.names=CONTROLLER
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

_PLAIN = """\
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
"""

# The broker is a client of its own, and so logs in as well.
_SECURED = """\
listeners=SASL_SSL://{host}:{port},SSL://{host}:{ssl_port},CONTROLLER://{host}:{controller}
advertised.listeners=SASL_SSL://{host}:{port},SSL://{host}:{ssl_port}
listener.security.protocol.map=SASL_SSL:SASL_SSL,SSL:SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=SASL_SSL
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
  username="{username}" password="{password}" user_{username}="{password}";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.ssl.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={certificate}
ssl.truststore.type=PEM
ssl.truststore.location={authority}
"""
_SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")

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
        listeners = _listeners(self.port, controller, self.place.security)
        properties.write_text(_PROPERTIES.format(host=HOST, controller=controller, data=data) + listeners)
        logging = self.folder / "log4j2.properties"
        logging.write_text(_LOGGING)
        temporary = temporary_folder(self.folder)
        options = ["-cp", f"{self._jars}/*", f"-Dlog4j2.configurationFile={logging}", temporary]
        if not (data / "meta.properties").exists():
            self._format([*self.java(128), *options], properties)
        return [*self.java(HEAP_MEGABYTES), *options, "-Djava.awt.headless=true", "kafka.Kafka", str(properties)]

    def request(self, limit: float) -> None:
        """Ask for the cluster's metadata. Raises RuntimeError where no broker or no controller is there yet."""
        # log_level 0: until the broker is up the client would write each refused connection to stderr.
        security = {} if self.place.security is None else self.place.security.kafka_client()
        client = AdminClient({"bootstrap.servers": self.place.ports.bootstrap, "log_level": 0, **security})
        # no request of the admin's own, such as describe_cluster: one that a broker answers after its time, as one does
        # that was frozen, ends the whole process (librdkafka, issue 4605)
        known = client.list_topics(timeout=limit)
        if not known.brokers or known.controller_id < 0:
            raise RuntimeError("no broker is registered yet")

    def _format(self, java: Sequence[str], properties: Path) -> None:
        command = [*java, "kafka.tools.StorageTool", "format", "-t", cluster_id(), "-c", str(properties)]
        if self.place.security is not None:
            user = f"[name={self.place.security.username},password={self.place.security.password}]"
            command += [part for mechanism in _SCRAM for part in ("--add-scram", f"{mechanism}={user}")]
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


def _listeners(port: int, controller: int, security: Security | None) -> str:
    if security is None:
        return _PLAIN.format(host=HOST, port=port, controller=controller)
    return _SECURED.format(
        host=HOST,
        port=port,
        controller=controller,
        ssl_port=security.kafka_ssl_port,
        username=security.username,
        password=security.password,
        certificate=security.certificate,
        authority=security.authority,
    )
