"""What was seen of Cassandra, and what that means for the product (docs/reconciliation.md, tables). Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from commands.checking.findings import Finding, State, named, not_looked_at, unreachable
from reconciliation.settings import Settings
from reconciliation.store_connection import CLOCK_TOLERANCE

SERVER = "Cassandra"

#: A PRIMARY KEY: its partition key, then its clustering columns.
Key = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Expected:
    """What one table must have: one of `keys` as its PRIMARY KEY, and these columns with these types."""

    setting: str
    keys: tuple[Key, ...]
    columns: Mapping[str, str]


_LEARNER = {"userid": "text", "courseid": "text", "batchid": "text"}

#: Of each table what the statements use (reconciliation/statements.py).
CONSUMPTION = Expected(
    "lms-cassandra.content_consumption.table",
    ((("userid",), ("courseid", "batchid", "contentid")),),
    {**_LEARNER, "contentid": "text", "status": "int"},
)
ENROLMENTS = Expected(
    "lms-cassandra.user_enrolments.table",
    ((("userid",), ("courseid", "batchid")),),
    {
        **_LEARNER,
        "status": "int",
        "progress": "int",
        "contentstatus": "map<text, int>",
        "completedon": "timestamp",
        "datetime": "timestamp",
        "active": "boolean",
    },
)
AGGREGATES = Expected(
    "lms-cassandra.user_activity_agg.table",
    (
        (("activity_type", "activity_id", "user_id"), ("context_id",)),
        (("activity_type", "activity_id"), ("context_id", "user_id")),
    ),
    {
        "activity_type": "text",
        "activity_id": "text",
        "user_id": "text",
        "context_id": "text",
        "aggregates": "map<text, double>",
        "agg_last_updated": "map<text, timestamp>",
    },
)


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """One node of the cluster."""

    address: str
    datacenter: str
    is_up: bool


@dataclass(frozen=True, slots=True)
class TableSeen:
    """One table, as the schema describes it."""

    partition_key: tuple[str, ...]
    clustering_key: tuple[str, ...]
    columns: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class KeyspaceSeen:
    """The keyspace. `copies` of each row: by data centre, in all, or the name of a strategy that tells no number."""

    copies: Mapping[str, int] | int | str
    tables: Mapping[str, TableSeen]


@dataclass(frozen=True, slots=True)
class CassandraSeen:
    """What Cassandra answered. `trouble` is what the driver said where it could not connect; then the rest is empty.

    `datacenter` is the one whose nodes are asked, `is_datacenter_missing` that no node is in the one that is set.
    `clock` is by how many seconds this host is ahead, or why that can't be told; `refused` why a read failed, or "".
    `relations` is the keyspace of the relation sets' table and `relations_refused` why a read of it failed, or ""; both
    are looked at only where relations.sources names Cassandra.
    """

    trouble: str = ""
    nodes: tuple[NodeSeen, ...] = ()
    datacenter: str = ""
    is_datacenter_missing: bool = False
    keyspace: KeyspaceSeen | None = None
    clock: float | str = ""
    refused: str = ""
    relations: KeyspaceSeen | None = None
    relations_refused: str = ""


def expected_tables(settings: Settings) -> dict[str, Expected]:
    """Give what each table must have, by its name: more where courtesies are on (docs/courtesies.md)."""
    consumption = dict(CONSUMPTION.columns)
    enrolments = dict(ENROLMENTS.columns)
    if settings.completed_on_from_consumption:
        consumption |= {"last_completed_time": "timestamp", "lastcompletedtime": "text"}
    if settings.completion_percentage_written:
        enrolments["completionpercentage"] = "int"
    return {
        settings.content_consumption_table: replace(CONSUMPTION, columns=consumption),
        settings.user_enrolments_table: replace(ENROLMENTS, columns=enrolments),
        settings.user_activity_agg_table: AGGREGATES,
    }


def judge_cassandra(settings: Settings, seen: CassandraSeen) -> list[Finding]:
    """Say what was found, a row a check; a column has one only where it is wrong."""
    tables = expected_tables(settings)
    of_keyspace = ["replication", *(f"table {name}" for name in tables), "reads at LOCAL_QUORUM"]
    if seen.trouble:
        address = f"{', '.join(settings.cassandra_hosts)}, port {settings.cassandra_port}"
        servers = named("lms-cassandra.host", "lms-cassandra.port")
        tls = (
            f"have both sides speak TLS, or none: {named('lms-cassandra.ssl.enabled', 'lms-cassandra.ssl.ca.location')}"
        )
        login = f"correct {named('lms-cassandra.username', 'lms-cassandra.password')}"
        away = unreachable(SERVER, "a node answers", seen.trouble, address, servers, tls=tls, password=login)
        rest = ["data centre", "clock", "keyspace", *of_keyspace]
        return [away, *not_looked_at(SERVER, rest, "Cassandra does not answer")]
    found = [
        Finding(SERVER, "a node answers", State.OK, f"{len(seen.nodes)} in the cluster: {_told(seen.nodes)}"),
        _judge_datacenter(settings, seen),
        _judge_clock(seen.clock),
    ]
    if seen.keyspace is None:
        step = f"create it, or correct {named('lms-cassandra.keyspace')}"
        found.append(Finding(SERVER, "keyspace", State.WRONG, f"{settings.cassandra_keyspace} does not exist", step))
        return [*found, *not_looked_at(SERVER, of_keyspace, "there is no keyspace")]
    found.append(Finding(SERVER, "keyspace", State.OK, settings.cassandra_keyspace))
    found.append(judge_replication(seen.keyspace.copies, seen))
    of_tables = [
        finding
        for name, expected in tables.items()
        for finding in judge_table(name, seen.keyspace.tables.get(name.lower()), expected)
    ]
    are_right = all(finding.state is State.OK for finding in of_tables)
    return [*found, *of_tables, judge_reads(seen.refused, are_tables_right=are_right)]


def _told(nodes: tuple[NodeSeen, ...]) -> str:
    return ", ".join(f"{node.address} in {node.datacenter}{'' if node.is_up else ' (down)'}" for node in nodes)


def _judge_datacenter(settings: Settings, seen: CassandraSeen) -> Finding:
    all_of_them = sorted({node.datacenter for node in seen.nodes})
    setting = named("lms-cassandra.localDatacenter")
    if seen.is_datacenter_missing:
        detail = f"no node is in {settings.cassandra_local_datacenter}, so no worker can connect"
        step = f"correct {setting}: there is {', '.join(all_of_them)}"
        return Finding(SERVER, "data centre", State.WRONG, detail, step)
    if settings.cassandra_local_datacenter is None and len(all_of_them) > 1:
        detail = f"there are {', '.join(all_of_them)}, and the first node that answers decides"
        return Finding(SERVER, "data centre", State.WARNING, detail, f"name the nearest: {setting}")
    return Finding(SERVER, "data centre", State.OK, seen.datacenter)


def _judge_clock(clock: float | str) -> Finding:
    if isinstance(clock, str):
        return Finding(SERVER, "clock", State.NOT_LOOKED_AT, clock)
    told = f"this host's is {abs(clock):.3f} s {'ahead' if clock > 0 else 'behind'}"
    if abs(clock) > CLOCK_TOLERANCE:
        step = "set the clocks: of two writers the one whose clock is ahead wins"
        return Finding(SERVER, "clock", State.WARNING, told, step)
    return Finding(SERVER, "clock", State.OK, told)


def judge_replication(copies: Mapping[str, int] | int | str, seen: CassandraSeen, what: str = "replication") -> Finding:
    """Say whether LOCAL_QUORUM can be met where a keyspace's rows have so many copies."""
    here = seen.datacenter
    if isinstance(copies, str):
        return Finding(SERVER, what, State.NOT_LOOKED_AT, f"{copies} tells no number of copies")
    if isinstance(copies, int):
        told = f"SimpleStrategy, {copies} in all"
        if len({node.datacenter for node in seen.nodes}) > 1:
            step = "let the keyspace use NetworkTopologyStrategy: a data centre may hold too few copies for its quorum"
            return Finding(SERVER, what, State.WARNING, told, step)
        factor = copies
    else:
        factor = copies.get(here, 0)
        told = ", ".join(f"{name} {number}" for name, number in copies.items())
    if factor == 0:
        step = f"name a data centre that holds copies ({named('lms-cassandra.localDatacenter')}), or give {here} some"
        detail = f"{told}; {here} holds no copies, so LOCAL_QUORUM is never met"
        return Finding(SERVER, what, State.WRONG, detail, step)
    quorum = factor // 2 + 1
    up = sum(node.is_up for node in seen.nodes if node.datacenter == here)
    told += f"; LOCAL_QUORUM needs {quorum} in {here}"
    if up < quorum:
        return Finding(SERVER, what, State.WRONG, f"{told}, where {up} are up", "bring back nodes of that data centre")
    return Finding(SERVER, what, State.OK, told)


def judge_table(name: str, seen: TableSeen | None, expected: Expected) -> list[Finding]:
    """Say whether a table has the key and the columns that the statements use."""
    what, setting = f"table {name}", named(expected.setting)
    if seen is None:
        return [Finding(SERVER, what, State.WRONG, "does not exist", f"create it, or correct {setting}")]
    wrong = [
        Finding(
            SERVER,
            f"column {name}.{column}",
            State.WRONG,
            f"is {seen.columns[column]}, must be {kind}" if column in seen.columns else f"is missing, must be {kind}",
            f"see whether {setting} names the right table, and have its migrations run",
        )
        for column, kind in expected.columns.items()
        if seen.columns.get(column) != kind
    ]
    key = (seen.partition_key, seen.clustering_key)
    if key not in expected.keys:
        allowed = " or ".join(_as_text(it) for it in expected.keys)
        step = f"see whether {setting} names the right table; a PRIMARY KEY can't be changed"
        detail = f"PRIMARY KEY {_as_text(key)}, must be {allowed}"
        return [Finding(SERVER, what, State.WRONG, detail, step), *wrong]
    right = f"PRIMARY KEY {_as_text(key)}, {len(expected.columns) - len(wrong)} of {len(expected.columns)} columns"
    return [Finding(SERVER, what, State.OK, right), *wrong]


def _as_text(key: Key) -> str:
    partition, clustering = key
    first = f"({', '.join(partition)})"
    return f"({', '.join((first, *clustering))})"


def judge_reads(
    refused: str, *, are_tables_right: bool, what: str = "reads at LOCAL_QUORUM", whose: str = "a learner who"
) -> Finding:
    """Say whether rows could be read, of somebody or something that is not there."""
    if not refused:
        return Finding(SERVER, what, State.OK, f"answered, of {whose} is not there")
    if not are_tables_right:
        return Finding(SERVER, what, State.NOT_LOOKED_AT, "the tables are not as they must be")
    step = "see which nodes are down and what their logs say"
    return Finding(SERVER, what, State.WRONG, refused, step)
