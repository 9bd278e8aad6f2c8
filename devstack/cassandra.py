"""Cassandra 5.0 or 4.1 as one node, tuned for a fast start on a small machine."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, Session
from cassandra.policies import WhiteListRoundRobinPolicy

from devstack.errors import DevstackError
from devstack.java import temporary_folder
from devstack.java_server import JavaServer
from devstack.ports import HOST, internal_port
from devstack.security import Security
from devstack.server import Place

#: The versions that there are lock files for, the usual one first.
VERSIONS = ("5.0", "4.1")

HEAP_MEGABYTES = 768
# What SimpleSnitch calls it.
DATA_CENTRE = "datacenter1"

_YAML = """\
cluster_name: devstack
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
listen_address: {host}
storage_port: {storage}
rpc_address: {host}
native_transport_port: {port}
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: "{host}:{storage}"
endpoint_snitch: SimpleSnitch
data_file_directories: ["{data}/data"]
commitlog_directory: "{data}/commitlog"
hints_directory: "{data}/hints"
saved_caches_directory: "{data}/saved_caches"
{commitlog}
commitlog_segment_size: 16MiB
commitlog_total_space: 256MiB
memtable_heap_space: 96MiB
memtable_offheap_space: 96MiB
key_cache_size: 4MiB
concurrent_reads: 16
concurrent_writes: 16
concurrent_counter_writes: 4
concurrent_compactors: 1
hinted_handoff_enabled: false
auto_snapshot: false
read_request_timeout: 10000ms
range_request_timeout: 20000ms
write_request_timeout: 10000ms
request_timeout: 20000ms
"""

_SECURED = """\
authenticator: PasswordAuthenticator
authorizer: CassandraAuthorizer
role_manager: CassandraRoleManager
client_encryption_options:
  enabled: true
  optional: false
  keystore: "{keystore}"
  keystore_password: "{password}"
  store_type: PKCS12
  require_client_auth: false
"""
# Off where an installation takes the newest version of the protocol alone.
_NEWEST_PROTOCOL = "native_transport_allow_older_protocols: false\n"
# Who Cassandra lets in first of all.
_FIRST_USER = ("cassandra", "cassandra")

# Acknowledged means on disk: one killed node stands for a replicated cluster, which would not forget either.
_SYNC_EVERY_WRITE = "commitlog_sync: batch"
# What Cassandra does unless told otherwise, and so most installations.
_SYNC_AS_USUAL = "commitlog_sync: periodic\ncommitlog_sync_period: 10000ms"

_LOGGING = """\
<configuration>
  <appender name="STDOUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%date{ISO8601} %-5level %logger{20} %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="STDOUT"/></root>
  <logger name="com.thinkaurelius.thrift" level="ERROR"/>
</configuration>
"""

# Cassandra reaches into these parts of Java 17, which are closed by default.
_EXPORTS = (
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/java.lang.ref",
    "java.base/sun.nio.ch",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.rmi/sun.rmi.transport.tcp",
    "java.sql/java.sql",
    "jdk.attach/sun.tools.attach",
    "jdk.unsupported/sun.misc",
)
_OPENS = (
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.lang.reflect",
    "java.base/java.math",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "jdk.management/com.sun.management.internal",
)


class CassandraServer(JavaServer):
    """One Cassandra node without JMX; its data centre is DATA_CENTRE, its version one of VERSIONS."""

    name: ClassVar[str] = "cassandra"
    start_limit: ClassVar[float] = 180.0

    def __init__(
        self,
        place: Place,
        *,
        version: str = VERSIONS[0],
        newest_protocol_alone: bool = False,
    ) -> None:
        if version not in VERSIONS:
            raise DevstackError(
                self.name,
                f"there is no version {version!r}",
                f"Choose one of {', '.join(VERSIONS)}: DEVSTACK_CASSANDRA=…",
            )
        is_usual = version == VERSIONS[0]
        super().__init__(place, place.ports.cassandra, self.name if is_usual else f"{self.name}-{version}")
        # one version does not read what another has left
        self._data = self.folder / ("data" if is_usual else f"data-{version}")
        self._protocols = _NEWEST_PROTOCOL if newest_protocol_alone else ""
        self._commitlog = _SYNC_AS_USUAL if place.as_in_production else _SYNC_EVERY_WRITE

    def command(self) -> Sequence[str]:
        """Write the configuration and return the command line."""
        configuration = self.folder / "cassandra.yaml"
        data = self._data
        storage = internal_port(self.folder / "storage-port", self.place.ports)
        configuration.write_text(
            _YAML.format(host=HOST, port=self.port, storage=storage, data=data, commitlog=self._commitlog)
            + self._protocols
            + self._secured()
        )
        logging = self.folder / "logback.xml"
        logging.write_text(_LOGGING)
        # It measures objects in memory for Cassandra, which guesses without it.
        (agent,) = self._jars.glob("jamm-*.jar")
        system = {
            "cassandra.config": configuration.as_uri(),
            "cassandra.storagedir": str(data),
            "cassandra.logdir": str(self.folder),
            "logback.configurationFile": str(logging),
            "cassandra.ring_delay_ms": "1",
            "cassandra.skip_wait_for_gossip_to_settle": "0",
            "cassandra-foreground": "yes",
            "cassandra.superuser_setup_delay_ms": "0",
            "java.awt.headless": "true",
            "java.net.preferIPv4Stack": "true",
            "jdk.attach.allowAttachSelf": "true",
        }
        return [
            *self.java(HEAP_MEGABYTES),
            "-XX:+ExitOnOutOfMemoryError",
            f"-javaagent:{agent}",
            temporary_folder(self.folder),
            *(f"-D{name}={value}" for name, value in system.items()),
            *(f"--add-exports={package}=ALL-UNNAMED" for package in _EXPORTS),
            *(f"--add-opens={package}=ALL-UNNAMED" for package in _OPENS),
            "-cp",
            f"{self._jars}/*",
            "org.apache.cassandra.service.CassandraDaemon",
        ]

    def request(self, limit: float) -> None:
        """Connect and run a query."""
        with session(HOST, self.port, limit, self.place.security, _FIRST_USER) as connected:
            connected.execute("SELECT release_version FROM system.local", timeout=limit)

    def create_user(self) -> None:
        """Create the user that a secured stack is used by; the server must answer."""
        security = self.place.security
        if security is not None:
            with session(HOST, self.port, security=security, user=_FIRST_USER) as connected:
                connected.execute(
                    f"CREATE ROLE IF NOT EXISTS {security.username} WITH PASSWORD = %s"
                    " AND LOGIN = true AND SUPERUSER = true",
                    [security.password],
                )

    def _secured(self) -> str:
        security = self.place.security
        if security is None:
            return ""
        return _SECURED.format(keystore=security.keystore, password=security.keystore_password)


@contextmanager
def session(
    host: str,
    port: int,
    limit: float = 30.0,
    security: Security | None = None,
    user: tuple[str, str] | None = None,
) -> Iterator[Session]:
    """Connect to the one node at `host`:`port`; each request may take `limit` seconds. Closes with the block.

    `user` takes the place of the user and password of `security`.
    """
    secured = {}
    if security is not None:
        name, password = user or (security.username, security.password)
        secured = {
            "auth_provider": PlainTextAuthProvider(name, password),
            "ssl_context": security.tls(),
        }
    profile = ExecutionProfile(load_balancing_policy=WhiteListRoundRobinPolicy([host]), request_timeout=limit)
    cluster = Cluster(
        [host],
        port=port,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        protocol_version=5,
        connect_timeout=limit,
        control_connection_timeout=limit,
        # Nobody here asks for it, and it is read anew after every statement that changes the schema.
        schema_metadata_enabled=False,
        **secured,
    )
    try:
        yield cluster.connect()
    finally:
        cluster.shutdown()
