"""What a bulk run works with: the ledger, the runs' records and the way to Celery's broker."""

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bridge.dispatch import BulkLane, Dispatcher, make_app
from bulk.runs import LEASE, RunStore
from ledger.config import ledger_config
from ledger.connection import LedgerConnection
from ledger.ledger import Ledger
from reconciliation.errors import SettingsError
from reconciliation.settings import Settings

#: How much longer than Kafka's word on an event the lease of a run's driver is, in seconds.
_BESIDE_KAFKA = 30.0

_DRIVER = re.compile(r"process (?P<process>\d+) on (?P<host>.+)")


@dataclass(frozen=True, slots=True)
class Means:
    """The ledger, the runs' records, and what sends messages to workers."""

    ledger: Ledger
    runs: RunStore
    sender: Dispatcher


def refuse_in_shadow_mode(settings: Settings) -> None:
    """Raise SettingsError in shadow mode, in which nothing is repaired."""
    if settings.shadow_enabled:
        raise SettingsError("shadow.enabled (SHADOW_ENABLED) is true: a bulk run would only be compared; unset it")


@contextmanager
def open_means(settings: Settings, lease: float | None = None) -> Iterator[Means]:
    """Give what a run works with; nothing is asked of a server yet. `lease` is that of its driver, in seconds.

    Unless it is given, it is long enough for what a driver can't interrupt: Kafka's word on an event.

    Raises SettingsError in shadow mode, in which nothing is repaired, and SystemExit where Celery's settings can't be
    read.
    """
    refuse_in_shadow_mode(settings)
    config = ledger_config(settings)
    means = Means(
        ledger=Ledger(config),
        runs=RunStore(LedgerConnection(config), lease or max(LEASE, settings.kafka_timeout + _BESIDE_KAFKA), is_gone),
        sender=Dispatcher(make_app(), settings.group_size, BulkLane(settings.bulk_queue, settings.bulk_group_size)),
    )
    try:
        yield means
    finally:
        means.sender.close()
        means.runs.close()
        means.ledger.close()


def this_process() -> str:
    """Name this process for the people who wonder who drives a run."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def is_gone(driver: str) -> bool:
    """Say of a process that `this_process` named whether it was one of this host and has ended."""
    named = _DRIVER.fullmatch(driver)
    if named is None or named["host"] != socket.gethostname():
        return False
    try:
        os.kill(int(named["process"]), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    return False
