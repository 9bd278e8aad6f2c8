"""The settings that say where relation sets come from, and who is asked to make them anew; see docs/relations.md."""

from dataclasses import dataclass
from typing import Annotated

from reconciliation import settings_kinds as kind
from reconciliation.settings_catalogue import Check, Others
from reconciliation.settings_sources import Documented

#: What relations.sources may name.
REDIS = "redis"
CASSANDRA = "cassandra"

_HIERARCHY_STORE = "{{env}}_hierarchy_store"


def _is_there_for_its_source(keyspace: str | None, others: Others) -> str | None:
    named = keyspace or _hierarchy_store(others)
    # where the environment's own name is wrong, that has a line of its own
    is_needed = "environment" in others and CASSANDRA in others.get("relation_sources", ())
    if named is None and is_needed:
        raise ValueError("the environment's name can't be part of a keyspace's, so this must be given")
    return named


def _is_named_after_environment(keyspace: str | None, others: Others) -> str | None:
    return keyspace or _hierarchy_store(others)


@dataclass(frozen=True, kw_only=True)
class RelationSettings:
    """Sources of relation sets, the content service's tables, healing; times in seconds."""

    relation_sources: Annotated[
        tuple[str, ...],
        kind.in_order(REDIS, CASSANDRA),
        Documented(
            "relations.sources",
            "Where relation sets are looked for, in this order: the relation cache, or the table in Cassandra.",
        ),
    ] = (REDIS,)
    # A name may not be made of every environment's: then they must be given where they are used.
    hierarchy_relations_keyspace: Annotated[
        str | None,
        kind.CQL_IDENTIFIER,
        Check(_is_there_for_its_source),
        Documented(
            "lms-cassandra.hierarchy_relations.keyspace",
            "The keyspace of the relation sets' table, where relations.sources names cassandra.",
            default=_HIERARCHY_STORE,
        ),
    ] = None
    hierarchy_relations_table: Annotated[
        str,
        kind.CQL_IDENTIFIER,
        Documented("lms-cassandra.hierarchy_relations.table", "The relation sets' table; only read."),
    ] = "hierarchy_relations"
    content_hierarchy_keyspace: Annotated[
        str | None,
        kind.CQL_IDENTIFIER,
        Check(_is_named_after_environment),
        Documented(
            "lms-cassandra.content_hierarchy.keyspace",
            "The keyspace of the content service's hierarchies, which `enrolment-reconciliation relations` compares"
            " with.",
            default=_HIERARCHY_STORE,
        ),
    ] = None
    content_hierarchy_table: Annotated[
        str,
        kind.CQL_IDENTIFIER,
        Documented("lms-cassandra.content_hierarchy.table", "The table of hierarchies; only read."),
    ] = "content_hierarchy"
    relation_healing_enabled: Annotated[
        bool,
        kind.SWITCH,
        Documented(
            "relations.healing.enabled",
            "Whether the job that makes relation sets is asked for those of a course that has none.",
        ),
    ] = False
    relation_healing_topic: Annotated[
        str, kind.TOPIC, Documented("relations.healing.topic", "That job's topic, on which it is asked.")
    ] = "{{env}}.content.postpublish.request"
    relation_healing_interval: Annotated[
        float,
        kind.seconds(1, 2_592_000),
        Documented("relations.healing.interval", "It is asked at most once for a course in this time (seconds)."),
    ] = 3600.0


def _hierarchy_store(others: Others) -> str | None:
    """Name the content service's keyspace after the environment; None where that is no name for one."""
    environment = others.get("environment", "")
    try:
        name: str = kind.CQL_IDENTIFIER.parse(f"{environment}_hierarchy_store")
    except ValueError:
        return None
    return name
