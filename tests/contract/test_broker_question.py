"""Whether Celery's broker is there, asked of one that is, of one that hangs, and where there is none."""

import pytest

from devstack.ports import HOST, Ports, free_port
from devstack.stack import Stack
from worker.broker_question import BrokerQuestion

LIMIT = 1.0


def test_a_broker_that_answers_is_there(ports: Ports) -> None:
    assert BrokerQuestion(ports.redis_url(0), 10.0)()


@pytest.mark.parametrize("url", ["redis://{}/0", "amqp://a:b@{}//"])
def test_where_nothing_listens_there_is_none(url: str) -> None:
    assert not BrokerQuestion(url.format(f"{HOST}:{free_port()}"), LIMIT)()


def test_another_server_is_no_broker(ports: Ports) -> None:
    assert not BrokerQuestion(f"amqp://a:b@{HOST}:{ports.redis}//", LIMIT)()
    assert not BrokerQuestion(f"redis://{HOST}:{ports.cassandra}/0", LIMIT)()


def test_one_that_hangs_is_not_there_and_comes_back(stack: Stack) -> None:
    ask = BrokerQuestion(stack.ports.redis_url(0), LIMIT)
    stack.server("redis").stop()
    try:
        assert not ask()
    finally:
        stack.server("redis").resume()
    assert BrokerQuestion(stack.ports.redis_url(0), 10.0)()
