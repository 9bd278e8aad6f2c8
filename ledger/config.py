"""What the ledger takes from the settings."""

from ledger.connection import LedgerConfig
from reconciliation.redis_options import sentinel_access
from reconciliation.settings import Settings


def ledger_config(settings: Settings) -> LedgerConfig:
    """Pick the ledger's part of the settings; the bridge and the workers must agree on it."""
    return LedgerConfig(
        url=settings.ledger_redis_url,
        group_id=settings.kafka_group_id,
        max_open=settings.ledger_max_open,
        max_waiting=settings.ledger_max_waiting,
        failures_per_minute=settings.failures_max_per_minute,
        lease=settings.ledger_lease,
        sweep_after=settings.ledger_sweep_after,
        sweep_max_wait=settings.ledger_sweep_max_wait,
        sweep_rate=settings.ledger_sweep_rate,
        paid_memory=round(settings.ledger_paid_memory),
        timeout=settings.redis_timeout,
        max_open_of_run=settings.bulk_max_open,
        sentinel=sentinel_access(settings),
    )
