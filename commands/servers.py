"""What a command works with: its settings, and its ways to the servers, each closed when its block ends."""

from collections.abc import Iterator
from contextlib import contextmanager

from ledger.config import ledger_config
from ledger.connection import LedgerConnection
from ledger.ledger import Ledger
from ledger.operations import Operations
from reconciliation.logs import configure_logging
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
def open_operations(settings: Settings) -> Iterator[Operations]:
    """Give the operators' way to that ledger; it asks its server nothing yet."""
    operations = Operations(LedgerConnection(ledger_config(settings)))
    try:
        yield operations
    finally:
        operations.close()
