"""Cassandra hangs, dies and comes back: the store says so in time and works again by itself."""

import time
from collections.abc import Callable, Iterator

import pytest

from devstack.stack import Stack
from reconciliation.enrolment_store import EnrolmentStore
from reconciliation.errors import StoreUnavailable
from reconciliation.model import AggregateWrite, EnrolmentKey, EnrolmentWrite, Look
from tests.contract.conftest import hurry
from tests.support.waiting import wait_until


@pytest.fixture
def mended(stack: Stack) -> Iterator[Stack]:
    yield stack
    server = stack.server("cassandra")
    server.resume()
    if server.pid is None:
        server.start()
    wait_until("Cassandra answers", server.answers)


def test_a_killed_server_is_an_outage_and_its_return_is_found(
    connect: Callable[..., EnrolmentStore],
    eventually: Callable[..., None],
    mended: Stack,
    key: EnrolmentKey,
) -> None:
    store = connect()
    hurry(store, 2.0)
    server = mended.server("cassandra")

    server.kill()

    begun = time.monotonic()
    assert isinstance(store.look([key])[0], StoreUnavailable)
    assert isinstance(store.write_aggregates([[AggregateWrite("a", "u", "b", 1.0, 1, 1)]])[0], StoreUnavailable)
    assert isinstance(store.write_enrolments([EnrolmentWrite(key, 1, {}, 1, 1, None, None)])[0], StoreUnavailable)
    with pytest.raises(StoreUnavailable):
        store.probe()
    with pytest.raises(StoreUnavailable):
        store.server_clock_ms()
    # with the time limit of connecting each of the five would take ten seconds
    assert time.monotonic() - begun < 40

    server.start()
    hurry(store, 10.0)
    eventually(store.probe, StoreUnavailable, limit=40)
    assert store.look([key]) == [Look((), None)]


def test_a_server_that_hangs_is_an_outage_within_the_time_limit(
    connect: Callable[..., EnrolmentStore],
    eventually: Callable[..., None],
    mended: Stack,
    key: EnrolmentKey,
) -> None:
    store = connect(timeout=20.0)
    hurry(store, 1.0)
    server = mended.server("cassandra")

    server.stop()
    begun = time.monotonic()
    looks = store.look([key, key])
    waited = time.monotonic() - begun
    server.resume()

    assert [type(look) for look in looks] == [StoreUnavailable] * 2
    assert waited < 15
    hurry(store, 10.0)
    eventually(store.probe, StoreUnavailable, limit=40)
