"""Whose turn it is to ask for a course's relation sets."""

import uuid
from collections.abc import Iterator

import pytest
import redis

from devstack.ports import Ports
from ledger.config import ledger_config
from ledger.healing import HealingTurns
from reconciliation.errors import LedgerUnavailable
from reconciliation.settings import load_settings
from tests.support.waiting import wait_until


@pytest.fixture
def environment() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


def turns_of(ports: Ports, environment: str, interval: float) -> HealingTurns:
    settings = load_settings({"ENV": environment, "CELERY_BROKER_URL": ports.redis_url(0)})
    return HealingTurns(ledger_config(settings), interval)


@pytest.fixture
def turns(ports: Ports, environment: str) -> Iterator[HealingTurns]:
    made = turns_of(ports, environment, 600.0)
    yield made
    made.close()


def test_a_course_has_one_turn_in_an_interval_over_all_workers(
    ports: Ports, environment: str, turns: HealingTurns
) -> None:
    other = turns_of(ports, environment, 600.0)
    assert turns.take(["do_1", "do_2"]) == [True, True]
    assert other.take(["do_2", "do_3", "do_1"]) == [False, True, False]
    assert turns.take(["do_1"]) == [False]
    assert turns.take([]) == []
    other.close()


def test_the_next_turn_comes_after_the_interval(ports: Ports, environment: str) -> None:
    turns = turns_of(ports, environment, 600.0)
    assert turns.take(["do_1"]) == [True]
    assert turns.take(["do_1"]) == [False]
    with redis.Redis.from_url(ports.redis_url(0)) as client:
        (key,) = client.keys(f"enrolment-reconciliation:{{{environment}-enrol*healing:*")
        client.pexpire(key, 500)
    wait_until("the interval is over", lambda: turns.take(["do_1"]) == [True])
    turns.close()


def test_turns_end_by_themselves_and_are_the_group_s_own(ports: Ports, environment: str, turns: HealingTurns) -> None:
    other_group = turns_of(ports, f"{environment}-other", 600.0)
    assert turns.take(["do_1"]) == other_group.take(["do_1"]) == [True]
    client = redis.Redis.from_url(ports.redis_url(0))
    (key,) = client.keys(f"enrolment-reconciliation:{{{environment}-enrol*healing:*")
    assert 500_000 < client.pttl(key) <= 600_000
    client.close()
    other_group.close()


def test_without_the_ledger_nobody_has_a_turn(environment: str) -> None:
    turns = turns_of(Ports(redis=1), environment, 600.0)
    with pytest.raises(LedgerUnavailable):
        turns.take(["do_1"])
    turns.close()
