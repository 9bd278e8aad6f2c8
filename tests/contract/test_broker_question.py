"""Whether Celery's broker is there, asked of one that is, of one that hangs, and where there is none."""

import pytest

from devstack.ports import HOST, Ports, free_port
from devstack.stack import Stack
from reconciliation.settings import load_settings
from worker.broker_question import BrokerQuestion

LIMIT = 1.0


def question(url: str, limit: float) -> BrokerQuestion:
    return BrokerQuestion(load_settings({"CELERY_BROKER_URL": url}), limit)


def test_a_broker_that_answers_is_there(ports: Ports) -> None:
    assert question(ports.redis_url(0), 10.0)()


@pytest.mark.parametrize("url", ["redis://{}/0", "amqp://a:b@{}//"])
def test_where_nothing_listens_there_is_none(url: str) -> None:
    assert not question(url.format(f"{HOST}:{free_port()}"), LIMIT)()


def test_another_server_is_no_broker(ports: Ports) -> None:
    assert not question(f"amqp://a:b@{HOST}:{ports.redis}//", LIMIT)()
    assert not question(f"redis://{HOST}:{ports.cassandra}/0", LIMIT)()


def test_one_that_hangs_is_not_there_and_comes_back(stack: Stack) -> None:
    ask = question(stack.ports.redis_url(0), LIMIT)
    stack.server("redis").stop()
    try:
        assert not ask()
    finally:
        stack.server("redis").resume()
    assert question(stack.ports.redis_url(0), 10.0)()
