"""Answers that don't come: each request and each page has its time limit, whoever else is in its group."""

import itertools
import threading
from collections.abc import Callable, Iterator

import pytest
from cassandra.concurrent import execute_concurrent_with_args

from devstack.ports import Ports
from reconciliation.enrolment_store import EnrolmentStore
from reconciliation.errors import StoreUnavailable
from reconciliation.model import EnrolmentKey, Look
from tests.contract.conftest import Database, hurry
from tests.support.cassandra_proxy import CassandraProxy, Request
from tests.support.relay import Treatment


@pytest.fixture
def proxy(ports: Ports) -> Iterator[CassandraProxy]:
    with CassandraProxy(ports.cassandra) as made:
        yield made


def reads_of(key: EnrolmentKey) -> Callable[[Request], bool]:
    """Match the reads of a learner's consumption."""
    return lambda request: (
        any("user_content_consumption" in text for text in request.statements) and request.names(key.user_id)
    )


def another(key: EnrolmentKey, number: int) -> EnrolmentKey:
    return EnrolmentKey(f"{key.user_id}-{number}", key.course_id, key.batch_id)


def test_an_answer_that_does_not_come_is_missed_by_its_learner_alone(
    connect: Callable[..., EnrolmentStore], proxy: CassandraProxy, key: EnrolmentKey
) -> None:
    store = connect(port=proxy.port)
    hurry(store, 8.0)
    group = [another(key, number) for number in range(50)]

    with proxy.fault(Treatment.HOLD_ANSWER, reads_of(group[7])) as fault:
        looks = store.look(group)
        fault.wait()
        assert len(fault.seen) == 1

    missed = [number for number, look in enumerate(looks) if look != Look((), None)]
    assert missed == [7]
    assert isinstance(looks[7], StoreUnavailable)
    assert "OperationTimedOut" in str(looks[7])
    # the answer that came late is nobody else's
    assert store.look(group) == [Look((), None)] * len(group)


def test_a_page_after_the_first_has_a_time_limit_too(
    connect: Callable[..., EnrolmentStore], proxy: CassandraProxy, database: Database, key: EnrolmentKey
) -> None:
    insert = database.session.prepare(
        "INSERT INTO {keyspace}.user_content_consumption (userid, courseid, batchid, contentid, status)"
        " VALUES (?, ?, ?, ?, 2)".replace("{keyspace}", database.keyspace)
    )
    rows = [(key.user_id, key.course_id, key.batch_id, f"do_{number}") for number in range(1_500)]
    execute_concurrent_with_args(database.session, insert, rows)
    pages = itertools.count(1)
    store = connect(port=proxy.port)
    hurry(store, 5.0)

    with proxy.fault(Treatment.HOLD_REQUEST, lambda it: reads_of(key)(it) and next(pages) == 2) as second:
        # a wait without end ends with the test, not the process
        ended: list[object] = []
        look = threading.Thread(target=lambda: ended.extend(store.look([key])), daemon=True)
        look.start()
        second.wait()
        look.join(30)
        assert [type(it) for it in ended] == [StoreUnavailable]

    hurry(store, 30.0)
    (look_again,) = store.look([key])
    assert isinstance(look_again, Look)
    assert len(look_again.consumption) == len(rows)
