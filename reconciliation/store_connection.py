"""How Cassandra is reached: connection and prepared statements."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import structlog
from cassandra import ConsistencyLevel, InvalidRequest, ProtocolVersion
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.policies import DCAwareRoundRobinPolicy, ExponentialReconnectionPolicy, TokenAwarePolicy
from cassandra.query import tuple_factory

from reconciliation.binding import Statement
from reconciliation.errors import SettingsError, StoreUnavailable
from reconciliation.statements import OtherTable, StatementTexts, Tables, statement_texts
from reconciliation.store_errors import TLS_FILES, refuses_protocol, told
from reconciliation.tls import Tls

log = structlog.get_logger(__name__)

_ROWS_PER_PAGE = 1000
_FIRST_RECONNECTION_SECONDS = 0.5
_LONGEST_RECONNECTION_SECONDS = 5.0
_HEARTBEAT_SECONDS = 5
T = TypeVar("T")

#: A clock that differs more from Cassandra's is told of, in seconds.
CLOCK_TOLERANCE = 2.0


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """Where Cassandra is and how it is used.

    `timeout` is in seconds, for each CQL request; `local_datacenter` None means that of the first host that
    answers, which is told as doubtful with `several_datacenters`; `batch_write_size` is the largest number of
    aggregate rows in one message. `write_timestamps` False leaves out USING TIMESTAMP everywhere, for servers that
    can't mix it (docs/reliability.md, write timestamps). `completion_times` reads when contents were completed,
    `completion_percentage` writes that (docs/courtesies.md). `username` None means that nobody asks who we are, `tls`
    None that Cassandra is spoken to in plain.
    """

    hosts: tuple[str, ...]
    port: int
    keyspace: str
    content_consumption_table: str
    user_enrolments_table: str
    user_activity_agg_table: str
    timeout: float = 10.0
    local_datacenter: str | None = None
    batch_write_size: int = 10
    write_timestamps: bool = True
    completion_times: bool = False
    completion_percentage: bool = False
    several_datacenters: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Tls | None = None


@dataclass(frozen=True, slots=True)
class PreparedStatements:
    """The statements of `StatementTexts`, by the same names, as this session prepared them."""

    read_consumption: Statement
    read_enrolment: Statement
    probe: Statement
    probe_write: Statement
    add_aggregate: Statement
    write_enrolment: Statement
    write_completed_enrolment: Statement
    write_status: Statement


@dataclass(frozen=True, slots=True)
class Connection:
    """An open session with everything that it needs."""

    cluster: Cluster
    session: Session
    statements: PreparedStatements


def worker_texts(config: StoreConfig, tables: Tables) -> StatementTexts:
    """Give the statements that a worker uses."""
    return statement_texts(
        tables,
        write_timestamps=config.write_timestamps,
        completion_times=config.completion_times,
        completion_percentage=config.completion_percentage,
    )


def connect(config: StoreConfig) -> Connection:
    """Return an open connection with all statements prepared.

    Raises StoreUnavailable when no host answers, SettingsError when keyspace, table or column isn't there, or a
    certificate can't be used.
    """

    def prepare(session: Session, tables: Tables) -> PreparedStatements:
        texts = worker_texts(config, tables)
        named = {field.name: getattr(texts, field.name) for field in fields(texts)}
        return PreparedStatements(**prepared(session, named, tables))

    return Connection(*open_session(config, prepare))


def open_session(config: StoreConfig, prepare: Callable[[Session, Tables], T]) -> tuple[Cluster, Session, T]:
    """Return an open cluster and session, with what `prepare` made for the tables that the settings name.

    Raises StoreUnavailable when no host answers, and as `prepare` does.
    """
    tables = Tables(
        config.keyspace,
        config.content_consumption_table,
        config.user_enrolments_table,
        config.user_activity_agg_table,
    )
    try:
        opening = Opening(config)
    except SettingsError:
        raise
    except Exception as error:
        # A host's name that can't be resolved is reported here, before any connection.
        raise StoreUnavailable(f"can't connect to Cassandra: {error}") from error
    try:
        session = opening.connect()
        session.default_fetch_size = _ROWS_PER_PAGE
        # The statements carry their timestamps themselves, or none at all.
        session.use_client_timestamp = False
        _tell_datacenter(opening.cluster, config)
        return opening.cluster, session, prepare(session, tables)
    except SettingsError:
        opening.cluster.shutdown()
        raise
    except Exception as error:
        found = sorted({host.datacenter for host in opening.cluster.metadata.all_hosts() if host.datacenter})
        opening.cluster.shutdown()
        if found and config.local_datacenter is not None and config.local_datacenter not in found:
            raise SettingsError(
                f"lms-cassandra.localDatacenter (LMS_CASSANDRA_LOCALDATACENTER) is {config.local_datacenter!r}:"
                f" Cassandra's data centres are {', '.join(found)}"
            ) from error
        raise StoreUnavailable(f"can't connect to Cassandra: {told(error)}") from error


class Opening:
    """A cluster on its way to a first session; `cluster` is the one that was tried last, for the caller to shut down.

    Raises as `make_cluster`.
    """

    def __init__(self, config: StoreConfig) -> None:
        self._config = config
        # Everything from Cassandra 2.2 to 5.0 speaks it, and YugabyteDB. Left to itself the driver begins with versions
        # of another product and connects three times, with warnings (cassandra/cluster.py, protocol_downgrade).
        self.cluster = make_cluster(config, ProtocolVersion.V4)

    def connect(self) -> Session:
        """Connect, with the next version of the protocol where no host takes this one and one says so.

        That is Cassandra with native_transport_allow_older_protocols off. Raises whatever the driver raises.
        """
        try:
            return self.cluster.connect()
        except NoHostAvailable as error:
            if not refuses_protocol(error):
                raise
        self.cluster.shutdown()
        self.cluster = make_cluster(self._config, ProtocolVersion.V5)
        return self.cluster.connect()


def clock_difference(server_clock_ms: Callable[[], int]) -> float:
    """Return by how many seconds this host's clock is ahead of the one that `server_clock_ms` asks for.

    It is as exact as half the time that the question takes.
    """
    asked_ms = time.time_ns() / 1_000_000
    server_ms = server_clock_ms()
    answered_ms = time.time_ns() / 1_000_000
    return ((asked_ms + answered_ms) / 2 - server_ms) / 1000


def _secured(config: StoreConfig) -> dict[str, Any]:
    """Give the driver's arguments for user and TLS. Raises OSError where a file holds something else."""
    arguments: dict[str, Any] = {}
    if config.username is not None:
        arguments["auth_provider"] = PlainTextAuthProvider(config.username, config.password)
    if config.tls is not None:
        arguments["ssl_context"] = config.tls.context()
    return arguments


def _tell_datacenter(cluster: Cluster, config: StoreConfig) -> None:
    """Warn where a data centre was chosen that nobody named."""
    known = {host.datacenter for host in cluster.metadata.all_hosts() if host.datacenter}
    if config.local_datacenter is None and (config.several_datacenters or len(known) > 1):
        policy = cluster.profile_manager.default.load_balancing_policy
        log.warning(
            "lms-cassandra.localDatacenter (LMS_CASSANDRA_LOCALDATACENTER) is not set:"
            " the data centre of a node that answered is taken",
            taken=policy._child_policy.local_dc,  # noqa: SLF001 - the driver tells it nowhere else
            known=sorted(known),
        )


def make_cluster(config: StoreConfig, protocol_version: int) -> Cluster:
    """Return the driver's cluster, not connected yet; it may raise where a host's name can't be resolved.

    Raises SettingsError where a certificate or key can't be used.
    """
    try:
        secured = _secured(config)
    except OSError as error:
        raise SettingsError(f"{TLS_FILES}: one of these files can't be used: {error}") from error
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(local_dc=config.local_datacenter or "")),
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        request_timeout=config.timeout,
        row_factory=tuple_factory,
    )
    return Cluster(
        contact_points=list(config.hosts),
        port=config.port,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        protocol_version=protocol_version,
        connect_timeout=config.timeout,
        control_connection_timeout=config.timeout,
        # The driver gives up after 64 attempts unless told otherwise (cassandra/policies.py): an outage may be longer.
        reconnection_policy=ExponentialReconnectionPolicy(
            _FIRST_RECONNECTION_SECONDS, _LONGEST_RECONNECTION_SECONDS, max_attempts=None
        ),
        # A host that hangs without closing its connections is noticed by these.
        idle_heartbeat_interval=_HEARTBEAT_SECONDS,
        idle_heartbeat_timeout=_HEARTBEAT_SECONDS,
        **secured,
    )


def prepared(session: Session, texts: Mapping[str, str], tables: Tables) -> dict[str, Statement]:
    """Prepare these statements, given by the names that they have in `statements`.

    Raises SettingsError, which names the setting, where the keyspace, a table or a column isn't there.
    """
    _require_keyspace(session, "lms-cassandra.keyspace", tables.keyspace)
    return {name: _prepare(session, text, *_table_of(name, tables)) for name, text in texts.items()}


def prepared_elsewhere(session: Session, text: str, table: OtherTable) -> Statement:
    """Prepare a statement on a table in a keyspace of its own; raises SettingsError as `prepared` does."""
    _require_keyspace(session, table.keyspace_setting, table.keyspace)
    return _prepare(session, text, table.table_setting, table.table)


def _require_keyspace(session: Session, setting: str, keyspace: str) -> None:
    # An unquoted name is folded to lower case by Cassandra.
    if keyspace.lower() not in session.cluster.metadata.keyspaces:
        raise SettingsError(f"{setting} is {keyspace!r}: Cassandra has no such keyspace")


def _prepare(session: Session, text: str, setting: str, table: str) -> Statement:
    try:
        made = session.prepare(text)
    except InvalidRequest as error:
        raise SettingsError(f"{setting} is {table!r}: Cassandra can't use this table: {error}") from error
    made.is_idempotent = True
    return Statement(made)


def _table_of(statement: str, tables: Tables) -> tuple[str, str]:
    if statement.endswith("consumption"):
        return "lms-cassandra.content_consumption.table", tables.consumption
    if statement.endswith("aggregate"):
        return "lms-cassandra.user_activity_agg.table", tables.aggregates
    return "lms-cassandra.user_enrolments.table", tables.enrolments
