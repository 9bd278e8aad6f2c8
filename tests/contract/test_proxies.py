"""The proxies before Cassandra and Kafka do to the product's own connections what the fault tests rely on."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from devstack.ports import Ports
from devstack.topics import create_topics
from reconciliation.enrolment_store import EnrolmentStore
from reconciliation.errors import ReconciliationError, StoreUnavailable
from reconciliation.model import COMPLETED, AggregateWrite, EnrolmentKey, EnrolmentWrite, OutgoingEvent, StatusWrite
from reconciliation.publisher import EventPublisher
from tests.contract.conftest import Database, hurry
from tests.support.cassandra_proxy import (
    OVERLOADED,
    WRITE_TIMEOUT,
    CassandraProxy,
    aggregate_write,
    any_write,
    completion_write,
    enrolment_read,
)
from tests.support.installation import unique
from tests.support.kafka_proxy import KafkaProxy, produce_to
from tests.support.relay import Treatment
from tests.support.waiting import wait_until

Connect = Callable[..., EnrolmentStore]


@pytest.fixture
def proxy(ports: Ports) -> Iterator[CassandraProxy]:
    with CassandraProxy(ports.cassandra) as made:
        yield made


@pytest.fixture
def far_store(proxy: CassandraProxy, connect: Connect) -> EnrolmentStore:
    return connect(port=proxy.port, timeout=30.0)


def _complete(store: EnrolmentStore, key: EnrolmentKey) -> ReconciliationError | None:
    (error,) = store.write_enrolments([EnrolmentWrite(key, 1, {"a": 2}, 5, 10, StatusWrite(COMPLETED, 10), 7)])
    return error


def _aggregate(store: EnrolmentStore, key: EnrolmentKey) -> ReconciliationError | None:
    (error,) = store.write_aggregates([[AggregateWrite(key.course_id, key.user_id, key.batch_id, 1.0, 1, 1)]])
    return error


def test_every_connection_goes_through_the_proxy(
    far_store: EnrolmentStore, proxy: CassandraProxy, key: EnrolmentKey
) -> None:
    assert _aggregate(far_store, key) is None
    assert _complete(far_store, key) is None

    assert [(aggregate_write(it), completion_write(it)) for it in proxy.passed] == [(True, False), (False, True)]
    assert all(it.names(key.user_id) for it in proxy.passed)
    hosts = far_store._cluster.metadata.all_hosts()
    assert [host.endpoint.port for host in hosts] == [proxy.port]


@pytest.mark.parametrize("error", [WRITE_TIMEOUT, OVERLOADED], ids=["write timeout", "overloaded"])
def test_a_write_outage_leaves_reads_alone_and_is_an_outage(
    far_store: EnrolmentStore, proxy: CassandraProxy, key: EnrolmentKey, database: Database, error: int
) -> None:
    proxy.error = error
    with proxy.fault(Treatment.REFUSE, any_write) as fault:
        assert isinstance(_complete(far_store, key), StoreUnavailable)
        assert isinstance(_aggregate(far_store, key), StoreUnavailable)
        assert far_store.read_completions([key]) == [None]
        with pytest.raises(StoreUnavailable, match="answers no writes"):
            far_store.probe()
    assert len(fault.seen) >= 2
    assert proxy.passed == []

    far_store.probe()
    assert _complete(far_store, key) is None
    assert database.enrolment(key).status == COMPLETED


def test_a_request_is_held_until_its_time(
    far_store: EnrolmentStore, proxy: CassandraProxy, key: EnrolmentKey, database: Database
) -> None:
    with proxy.fault(Treatment.HOLD_REQUEST, completion_write) as fault:
        writing = threading.Thread(target=_complete, args=(far_store, key))
        writing.start()
        fault.wait()
        assert _aggregate(far_store, key) is None
        assert far_store.read_completions([key]) == [None]
    writing.join()
    assert database.enrolment(key).status == COMPLETED


def test_what_is_held_of_a_client_that_has_gone_may_come_late(
    connect: Connect, proxy: CassandraProxy, key: EnrolmentKey, store: EnrolmentStore
) -> None:
    far_store = connect(port=proxy.port)
    hurry(far_store, 0.5)
    with proxy.fault(Treatment.HOLD_REQUEST, completion_write) as fault:
        assert isinstance(_complete(far_store, key), StoreUnavailable)
        fault.wait()
        far_store.close()
        assert store.read_completions([key]) == [None]
    wait_until("the late write", lambda: store.read_completions([key]) != [None])


@pytest.mark.parametrize("ending", ["forget", "drop"])
def test_a_request_may_never_arrive(
    connect: Connect, proxy: CassandraProxy, key: EnrolmentKey, store: EnrolmentStore, ending: str
) -> None:
    treatment = Treatment.HOLD_REQUEST if ending == "forget" else Treatment.DROP_REQUEST
    far_store = connect(port=proxy.port)
    hurry(far_store, 0.5)
    fault = proxy.fault(treatment, any_write, most=1)
    assert isinstance(_complete(far_store, key), StoreUnavailable)
    fault.wait()
    fault.forget() if ending == "forget" else fault.end()
    assert store.read_completions([key]) == [None]
    assert proxy.passed == []


def test_a_write_whose_answer_is_lost_is_done(
    connect: Connect, proxy: CassandraProxy, key: EnrolmentKey, database: Database
) -> None:
    store = connect(port=proxy.port)
    with proxy.fault(Treatment.DROP_ANSWER, any_write, most=1) as fault:
        hurry(store, 0.5)
        assert isinstance(_complete(store, key), StoreUnavailable)
        fault.wait()
        hurry(store, 10.0)
        assert database.enrolment(key).status == COMPLETED
        assert _complete(store, key) is None


def test_the_answer_to_a_read_is_as_old_as_the_read(
    far_store: EnrolmentStore, proxy: CassandraProxy, key: EnrolmentKey, store: EnrolmentStore
) -> None:
    read: list[object] = []
    with proxy.fault(Treatment.HOLD_ANSWER, enrolment_read) as fault:
        reading = threading.Thread(target=lambda: read.extend(far_store.read_completions([key])))
        reading.start()
        fault.wait()
        assert _complete(store, key) is None
    reading.join()
    assert read == [None]


@pytest.mark.parametrize("treatment", [Treatment.HOLD_REQUEST, Treatment.HOLD_ANSWER])
def test_what_goes_to_one_topic_is_held_and_the_rest_goes_on(ports: Ports, treatment: Treatment) -> None:
    held, free = unique("held"), unique("free")
    create_topics(ports.bootstrap, [held, free])
    reports: list[object] = []
    with (
        KafkaProxy(ports.kafka) as proxy,
        closing(EventPublisher({"bootstrap.servers": proxy.bootstrap}, 30.0)) as publisher,
    ):
        assert publisher.publish([OutgoingEvent(topic, b"k", b"1") for topic in (held, free)]) == [None, None]
        with proxy.fault(treatment, produce_to(held)) as fault:
            holding = threading.Thread(
                target=lambda: reports.extend(publisher.publish([OutgoingEvent(held, b"k", b"2")]))
            )
            holding.start()
            fault.wait()
            assert publisher.publish([OutgoingEvent(free, b"k", b"2")]) == [None]
            assert reports == []
        holding.join()
    assert reports == [None]
