"""Makes the domain's parts from the settings, for workers and for the operators' commands."""

from reconciliation.counters import Counters
from reconciliation.course_list import CourseList
from reconciliation.progress import Rules
from reconciliation.redis_options import course_list_client, relation_cache_arguments
from reconciliation.relation_cache import RelationCache
from reconciliation.relation_sets import Relations, RelationSource
from reconciliation.relation_sources import RelationSources
from reconciliation.relation_table import RelationTable
from reconciliation.search import CollectionSearch, search_header
from reconciliation.settings import Settings
from reconciliation.settings_relations import REDIS
from reconciliation.statements import OtherTable
from reconciliation.store_connection import StoreConfig
from reconciliation.tls import Tls


def store_config(settings: Settings) -> StoreConfig:
    """Pick Cassandra's part of the settings."""
    tls = Tls(
        settings.cassandra_ssl_ca_location,
        settings.cassandra_ssl_certificate_location,
        settings.cassandra_ssl_key_location,
        settings.cassandra_ssl_hostname_verification,
    )
    return StoreConfig(
        hosts=settings.cassandra_hosts,
        port=settings.cassandra_port,
        keyspace=settings.cassandra_keyspace,
        content_consumption_table=settings.content_consumption_table,
        user_enrolments_table=settings.user_enrolments_table,
        user_activity_agg_table=settings.user_activity_agg_table,
        timeout=settings.cassandra_timeout,
        local_datacenter=settings.cassandra_local_datacenter,
        batch_write_size=settings.batch_write_size,
        write_timestamps=settings.cassandra_write_timestamps,
        completion_times=settings.completed_on_from_consumption,
        completion_percentage=settings.completion_percentage_written,
        several_datacenters=settings.cassandra_multi_datacenter,
        username=settings.cassandra_username,
        password=settings.cassandra_password,
        tls=tls if settings.cassandra_ssl_enabled else None,
    )


def rules(settings: Settings) -> Rules:
    """Pick the switches that change what a reconciliation decides."""
    return Rules(
        module_aggregates_enabled=settings.module_aggregates_enabled,
        filter_processed_enrolments=settings.filter_processed_enrolments,
        optional_nodes_enabled=settings.optional_nodes_enabled,
        completed_on_from_consumption=settings.completed_on_from_consumption,
        completion_percentage_written=settings.completion_percentage_written,
    )


def relations(settings: Settings, counters: Counters) -> Relations:
    """Make what relation sets are read from, as relations.sources says; it connects at first use."""
    if settings.relation_sources == (REDIS,):
        return _relation_cache(settings, counters)
    return RelationSources(relation_sources(settings, counters), counters)


def relation_sources(settings: Settings, counters: Counters) -> list[RelationSource]:
    """Make each of relations.sources by itself, in their order; each connects at first use."""
    return [
        _relation_cache(settings, counters)
        if name == REDIS
        else RelationTable(store_config(settings), relations_table(settings), counters)
        for name in settings.relation_sources
    ]


def relations_table(settings: Settings) -> OtherTable:
    """Name the table of relation sets. Raises SettingsError where its keyspace can't be told from the environment's."""
    return OtherTable(
        keyspace=settings.hierarchy_relations_keyspace or "",
        table=settings.hierarchy_relations_table,
        keyspace_setting="lms-cassandra.hierarchy_relations.keyspace",
        table_setting="lms-cassandra.hierarchy_relations.table",
    )


def hierarchy_table(settings: Settings) -> OtherTable:
    """Name the table of hierarchies. Raises SettingsError as `relations_table` does."""
    return OtherTable(
        keyspace=settings.content_hierarchy_keyspace or "",
        table=settings.content_hierarchy_table,
        keyspace_setting="lms-cassandra.content_hierarchy.keyspace",
        table_setting="lms-cassandra.content_hierarchy.table",
    )


def _relation_cache(settings: Settings, counters: Counters) -> RelationCache:
    return RelationCache(server=relation_cache_arguments(settings), timeout=settings.redis_timeout, counters=counters)


def course_list(settings: Settings) -> CourseList | None:
    """Make what drops cached course lists; None where `enrolment.cache.drop` is off. It connects at first use."""
    if not settings.course_list_dropped:
        return None
    return CourseList(course_list_client(settings, settings.course_list_timeout), settings.course_list_timeout)


def collection_search(settings: Settings) -> CollectionSearch | None:
    """Make the way to the search service; None where `service.search.basePath` is not set."""
    if settings.search_base_path is None:
        return None
    return CollectionSearch(
        settings.search_base_path,
        settings.search_timeout,
        settings.collection_status_cache_expiry,
        header=search_header(settings),
        authority=settings.search_ssl_ca_location,
    )
