"""Answers that don't come: each request has its time limit, whoever else is in its group, and so has each page."""

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from devstack.ports import Ports
from reconciliation.enrolment_store import EnrolmentStore
from reconciliation.errors import StoreUnavailable
from reconciliation.model import EnrolmentKey, Look
from tests.contract.conftest import Database
from tests.support.cassandra_proxy import CassandraProxy, Request
from tests.support.relay import Treatment

#: One more than a page holds (reconciliation/store_connection.py).
TWO_PAGES = 1_001


@pytest.fixture
def proxy(ports: Ports) -> Iterator[CassandraProxy]:
    with CassandraProxy(ports.cassandra) as made:
        yield made


def reads_of(key: EnrolmentKey, after: int = 0) -> Callable[[Request], bool]:
    """Match the reads of a learner's consumption, but for the first `after` of them."""
    seen = count()
    return lambda request: (
        any("user_content_consumption" in text for text in request.statements)
        and request.names(key.user_id)
        and next(seen) >= after
    )


def another(key: EnrolmentKey, number: int) -> EnrolmentKey:
    return EnrolmentKey(f"{key.user_id}-{number}", key.course_id, key.batch_id)


def test_an_answer_that_does_not_come_is_missed_by_its_learner_alone(
    connect: Callable[..., EnrolmentStore], proxy: CassandraProxy, key: EnrolmentKey
) -> None:
    store = connect(port=proxy.port, timeout=3.0)
    group = [another(key, number) for number in range(50)]

    with proxy.fault(Treatment.HOLD_ANSWER, reads_of(group[7])) as fault:
        looks = store.look(group)
        assert len(fault.seen) == 1

    missed = [number for number, look in enumerate(looks) if look != Look((), None)]
    assert missed == [7]
    assert isinstance(looks[7], StoreUnavailable)
    assert "OperationTimedOut" in str(looks[7])
    # the answer that came late is nobody else's
    assert store.look(group) == [Look((), None)] * len(group)


def test_a_page_that_does_not_come_is_an_outage_too(
    connect: Callable[..., EnrolmentStore], proxy: CassandraProxy, key: EnrolmentKey, database: Database
) -> None:
    for number in range(TWO_PAGES):
        database.consume(key, f"do_{number:04}", 2)
    store = connect(port=proxy.port, timeout=3.0)

    with proxy.fault(Treatment.HOLD_ANSWER, reads_of(key, after=1)) as fault:
        (look,) = store.look([key])
        assert len(fault.seen) == 1

    assert isinstance(look, StoreUnavailable)
    (look,) = store.look([key])
    assert isinstance(look, Look)
    assert len(look.consumption) == TWO_PAGES
