"""The sweeper on a real ledger and broker: what goes alone, and the pause that workers get after an outage."""

from dataclasses import dataclass

import pytest
from celery import Celery

from bridge.dispatch import BrokerUnavailable, Dispatcher
from bridge.sweep import Sweeper
from devstack.ports import HOST, free_port
from ledger.connection import LedgerConfig
from ledger.entries import RetryLater, Spends
from ledger.ledger import Ledger
from reconciliation.model import EnrolmentKey, Origin, Record, SyncRequest
from tests.integration.bridge.harness import BridgeStand

SWEEP_AFTER = 10.0


@dataclass
class Clock:
    now_ms: int = 1_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(stand: BridgeStand, clock: Clock) -> Ledger:
    config = LedgerConfig(
        url=stand.ports.redis_url(0),
        group_id=stand.group_id,
        max_open=1000,
        max_waiting=1000,
        failures_per_minute=10,
        lease=30,
        sweep_after=SWEEP_AFTER,
        sweep_max_wait=100,
        sweep_rate=10_000,
        paid_memory=60,
        timeout=5,
    )
    return Ledger(config, clock)


def dispatcher(stand: BridgeStand, port: int | None = None) -> Dispatcher:
    app = Celery("test", set_as_current=False, broker=f"redis://{HOST}:{port or stand.ports.redis}/0")
    app.conf.update(
        task_default_queue=stand.group_id,
        broker_transport_options={"global_keyprefix": f"{stand.group_id}:celery:", "socket_timeout": 2},
    )
    return Dispatcher(app, group_size=25)


def requests(count: int) -> list[SyncRequest]:
    return [
        SyncRequest(
            f"id-{number}", EnrolmentKey(f"user-{number}", "c", "b"), Record(Origin("t", 0, number, 1), None, b"{}")
        )
        for number in range(count)
    ]


def test_retries_go_alone_and_the_others_in_groups(stand: BridgeStand, ledger: Ledger, clock: Clock) -> None:
    acceptance = ledger.accept(requests(30))
    ledger.claim(acceptance.tickets[:2], "token")
    ledger.retry([RetryLater(f"id-{number}", 1000, Spends.ATTEMPT, "why") for number in (0, 1)], "token")
    clock.now_ms += 11_000
    Sweeper(ledger, dispatcher(stand), interval=1, grace=10).sweep(100.0)

    messages = stand.messages()
    assert sorted(len(message.tickets) for message in messages) == [1, 1, 3, 25]
    alone = [message for message in messages if len(message.tickets) == 1]
    assert sorted(message.task_id for message in alone) == ["id-0", "id-1"]


def test_a_broker_away_is_tried_with_one_entry_only(stand: BridgeStand, ledger: Ledger, clock: Clock) -> None:
    ledger.accept(requests(30))
    clock.now_ms += 11_000
    sweeper = Sweeper(ledger, dispatcher(stand, free_port()), interval=1, grace=10)
    with pytest.raises(BrokerUnavailable):
        sweeper.sweep(100.0)
    clock.now_ms += 21_000  # the wait has doubled
    with pytest.raises(BrokerUnavailable):
        sweeper.sweep(101.0)
    sendings = sorted(int(entry["sweeps"]) for entry in stand.entries().values())
    assert sendings == [2] * 29 + [3]


def test_workers_get_a_pause_after_an_outage(stand: BridgeStand, ledger: Ledger) -> None:
    sweeper = Sweeper(ledger, dispatcher(stand), interval=1, grace=10)
    assert sweeper.is_due(100.0)
    sweeper.sweep(100.0)
    assert not sweeper.is_due(100.9)
    assert sweeper.is_due(101.0)
    sweeper.put_off(101.0)
    assert not sweeper.is_due(110.9)
    assert sweeper.is_due(111.0)
