"""What a command works with: its settings, and its ways to the servers, each closed when its block ends."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from commands.endings import ServerAway
from commands.topics import KafkaReader
from ledger.config import ledger_config
from ledger.connection import LedgerConnection
from ledger.ledger import Ledger
from ledger.operations import Operations
from ledger.reading import LedgerReader
from reconciliation.current_rows import CurrentRows
from reconciliation.errors import RelationCacheUnavailable, StoreUnavailable
from reconciliation.from_settings import store_config
from reconciliation.kafka_options import connection_options
from reconciliation.logs import configure_logging
from reconciliation.publisher import EventPublisher
from reconciliation.settings import Settings, process_settings


def read_settings() -> Settings:
    """Read the settings that bridges and workers have; what there is to warn of goes to standard error.

    Raises SettingsError.
    """
    settings = process_settings()
    configure_logging("console", "warning", settings.warnings)
    return settings


@contextmanager
def open_ledger(settings: Settings) -> Iterator[Ledger]:
    """Give the ledger that bridges and workers with these settings share; it asks its server nothing yet."""
    ledger = Ledger(ledger_config(settings))
    try:
        yield ledger
    finally:
        ledger.close()


@contextmanager
def read_ledger(settings: Settings) -> Iterator[LedgerReader]:
    """Give a look at the ledger that changes nothing."""
    reader = LedgerReader(ledger_config(settings))
    try:
        yield reader
    finally:
        reader.close()


@contextmanager
def read_kafka(settings: Settings) -> Iterator[KafkaReader]:
    """Give a connection to Kafka that only reads."""
    reader = KafkaReader(settings)
    try:
        yield reader
    finally:
        reader.close()


@contextmanager
def open_publisher(settings: Settings) -> Iterator[EventPublisher]:
    """Give a way to send events to Kafka; at its end what still waits is sent, for a few seconds at most."""
    publisher = EventPublisher(connection_options(settings), settings.kafka_timeout, quiet=True)
    try:
        yield publisher
    finally:
        publisher.close()


def store_away(error: StoreUnavailable) -> ServerAway:
    """Say of Cassandra which settings lead to it."""
    return ServerAway(
        f"{error}; is it up, and do lms-cassandra.host (LMS_CASSANDRA_HOST) and lms-cassandra.port "
        "(LMS_CASSANDRA_PORT) name it?"
    )


def relation_cache_away(error: RelationCacheUnavailable) -> ServerAway:
    """Say of the relation cache which settings lead to it."""
    return ServerAway(f"{error}; is it up, and do redis.host (REDIS_HOST) and redis.port (REDIS_PORT) name it?")


@contextmanager
def read_rows(settings: Settings) -> Iterator[CurrentRows]:
    """Give a connection to Cassandra that only reads. Raises ServerAway and SettingsError."""
    # what goes wrong is told in one line; the driver would say it beforehand, and at length
    logging.getLogger("cassandra").setLevel(logging.CRITICAL)
    try:
        rows = CurrentRows(store_config(settings))
    except StoreUnavailable as error:
        raise store_away(error) from error
    try:
        yield rows
    finally:
        rows.close()


@contextmanager
def open_operations(settings: Settings) -> Iterator[Operations]:
    """Give the operators' way to the ledger; it asks its server nothing yet."""
    operations = Operations(LedgerConnection(ledger_config(settings)))
    try:
        yield operations
    finally:
        operations.close()
