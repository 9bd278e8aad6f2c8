"""Creates keyspaces with production's tables: the learners', in either key layout, and the content service's."""

from collections.abc import Sequence
from enum import Enum

from cassandra import DriverException
from cassandra.cluster import NoHostAvailable

from devstack.cassandra import DATA_CENTRE, session
from devstack.errors import DevstackError
from devstack.security import Security

DEFAULT_KEYSPACE = "sunbird_courses"


class AggregateLayout(Enum):
    """The two PRIMARY KEYs under which installations keep user_activity_agg (docs/reconciliation.md, tables)."""

    USER_IN_PARTITION = "(activity_type, activity_id, user_id), context_id"
    USER_IN_CLUSTERING = "(activity_type, activity_id), context_id, user_id"


_KEYSPACE = """
CREATE KEYSPACE IF NOT EXISTS {keyspace}
  WITH replication = {{'class': 'NetworkTopologyStrategy', '{data_centre}': 1}}
"""

_CONTENT_CONSUMPTION = """
CREATE TABLE IF NOT EXISTS {keyspace}.user_content_consumption (
  userid text, courseid text, batchid text, contentid text, completedcount int, datetime timestamp,
  lastaccesstime text, lastcompletedtime text, lastupdatedtime text, progress int, status int, viewcount int,
  last_access_time timestamp, last_completed_time timestamp, last_updated_time timestamp,
  completionpercentage float, progressdetails text,
  PRIMARY KEY (userid, courseid, batchid, contentid))
"""

_ENROLMENTS = """
CREATE TABLE IF NOT EXISTS {keyspace}.user_enrolments (
  userid text, courseid text, batchid text, active boolean, addedby text,
  certificates list<frozen<map<text, text>>>, completedon timestamp, completionpercentage int,
  contentstatus map<text, int>, datetime timestamp, enrolleddate text, enrolled_date timestamp,
  lastreadcontentid text, lastreadcontentstatus int, progress int, status int,
  issued_certificates list<frozen<map<text, text>>>, certstatus int, lastcontentaccesstime timestamp,
  PRIMARY KEY (userid, courseid, batchid))
"""

_AGGREGATES = """
CREATE TABLE IF NOT EXISTS {keyspace}.user_activity_agg (
  activity_type text, activity_id text, user_id text, context_id text, agg map<text, int>,
  agg_last_updated map<text, timestamp>, aggregates map<text, double>, agg_details list<text>,
  PRIMARY KEY ({primary_key}))
"""

_HIERARCHY_RELATIONS = """
CREATE TABLE IF NOT EXISTS {keyspace}.hierarchy_relations (
  relationship_key text, node_ids list<text>, PRIMARY KEY (relationship_key))
"""

_CONTENT_HIERARCHY = """
CREATE TABLE IF NOT EXISTS {keyspace}.content_hierarchy (
  identifier text, hierarchy text, relational_metadata text, PRIMARY KEY (identifier))
"""

_INDEXES = (
    "CREATE INDEX IF NOT EXISTS {keyspace}_status ON {keyspace}.user_enrolments (status)",
    "CREATE INDEX IF NOT EXISTS {keyspace}_certificates ON {keyspace}.user_enrolments (values(certificates))",
)


def create_keyspace(
    host: str,
    port: int,
    keyspace: str,
    layout: AggregateLayout = AggregateLayout.USER_IN_PARTITION,
    security: Security | None = None,
) -> None:
    """Create `keyspace` with its three tables and two indexes; what exists already stays as it is.

    Raises DevstackError for a name that CQL would not take as it stands, and when Cassandra refuses.
    """
    if not _is_name(keyspace):
        raise DevstackError(
            "cassandra",
            f"{keyspace!r} can't be a keyspace's name",
            "Use lower-case letters, digits and underscores (LMS_CASSANDRA_KEYSPACE).",
        )
    made = (
        _KEYSPACE,
        _CONTENT_CONSUMPTION,
        _ENROLMENTS,
        _AGGREGATES,
        *_INDEXES,
    )
    _execute(
        host,
        port,
        [statement.format(keyspace=keyspace, data_centre=DATA_CENTRE, primary_key=layout.value) for statement in made],
        security,
    )


def hierarchy_store(environment: str) -> str | None:
    """Name the content service's keyspace of an environment; None where CQL would not take it as it stands."""
    name = f"{environment}_hierarchy_store"
    return name if _is_name(name) else None


def create_hierarchy_store(host: str, port: int, keyspace: str, security: Security | None = None) -> None:
    """Create the content service's keyspace with its relation sets and hierarchies; what exists already stays.

    Raises DevstackError when Cassandra refuses.
    """
    made = (_KEYSPACE, _HIERARCHY_RELATIONS, _CONTENT_HIERARCHY)
    statements = [statement.format(keyspace=keyspace, data_centre=DATA_CENTRE) for statement in made]
    _execute(host, port, statements, security)


def drop_keyspace(host: str, port: int, keyspace: str) -> None:
    """Drop `keyspace` and all its rows, if it exists; raises DevstackError when Cassandra refuses."""
    _execute(host, port, [f'DROP KEYSPACE IF EXISTS "{keyspace}"'])


def _is_name(keyspace: str) -> bool:
    return keyspace.isascii() and keyspace.isidentifier() and keyspace.islower()


def _execute(host: str, port: int, statements: Sequence[str], security: Security | None = None) -> None:
    try:
        with session(host, port, security=security) as connected:
            for statement in statements:
                connected.execute(statement)
    except (DriverException, NoHostAvailable) as error:
        reason = f"the schema could not be changed: {error}"
        raise DevstackError("cassandra", reason, "See `python -m devstack status`.") from error
