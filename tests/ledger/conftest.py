import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from devstack.ports import Ports
from ledger.connection import LedgerConfig, LedgerConnection
from ledger.ledger import Ledger
from ledger.operations import Operations
from tests.ledger.steps import LEASE_MS, WAIT_MS, Clock


@pytest.fixture(scope="session")
def redis_url(ports: Ports) -> str:
    return ports.redis_url(0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def config(redis_url: str) -> LedgerConfig:
    return LedgerConfig(
        url=redis_url,
        group_id=f"group-{uuid.uuid4().hex}",
        max_open=10,
        max_waiting=8,
        failures_per_minute=5,
        lease=LEASE_MS / 1000,
        sweep_after=WAIT_MS / 1000,
        sweep_max_wait=600,
        sweep_rate=1000,
        paid_memory=1000,
        timeout=60,
    )


@pytest.fixture
def open_ledger(config: LedgerConfig, clock: Clock) -> Iterator[Callable[..., Ledger]]:
    opened: list[Ledger] = []

    def open_one(**changes: object) -> Ledger:
        opened.append(Ledger(replace(config, **changes), clock))  # type: ignore[arg-type]  # test data
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def ledger(open_ledger: Callable[..., Ledger]) -> Ledger:
    return open_ledger()


@pytest.fixture
def operations(config: LedgerConfig, clock: Clock) -> Iterator[Operations]:
    """The operators' way to the ledger that `ledger` gives."""
    made = Operations(LedgerConnection(config, clock))
    yield made
    made.close()
