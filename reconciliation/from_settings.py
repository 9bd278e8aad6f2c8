"""Makes the domain's parts from the settings, for workers and for the operators' commands."""

from reconciliation.counters import Counters
from reconciliation.course_list import CourseList
from reconciliation.progress import Rules
from reconciliation.redis_options import course_list_client, relation_cache_arguments
from reconciliation.relation_cache import RelationCache
from reconciliation.search import CollectionSearch, search_header
from reconciliation.settings import Settings
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


def relation_cache(settings: Settings, counters: Counters) -> RelationCache:
    """Make the relation cache; it connects at first use."""
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
    )
