"""Makes the domain's parts from the settings, for workers and for the operators' commands."""

from reconciliation.settings import Settings
from reconciliation.store_connection import StoreConfig


def store_config(settings: Settings) -> StoreConfig:
    """Pick what the connection to Cassandra needs to know."""
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
    )
