"""Whether Celery's broker is there, asked of one that is, of one that hangs, and where there is none."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from devstack.ports import HOST, Ports, free_port
from devstack.stack import Stack
from reconciliation.settings import load_settings
from worker.broker_question import BrokerQuestion
from worker.health import BROKER_ANSWER

LIMIT = 1.0


def question(url: str, limit: float) -> BrokerQuestion:
    return BrokerQuestion(load_settings({"CELERY_BROKER_URL": url}), limit)


def test_a_broker_that_answers_is_there(ports: Ports) -> None:
    assert question(ports.redis_url(0), 10.0)()


@pytest.mark.parametrize("url", ["redis://{}/0", "amqp://a:b@{}//"])
def test_where_nothing_listens_there_is_none(url: str) -> None:
    assert not question(url.format(f"{HOST}:{free_port()}"), LIMIT)()


@pytest.fixture
def silent() -> Iterator[list[int]]:
    """Three ports at which somebody listens who never says a word."""
    with ExitStack() as opened:
        servers = [opened.enter_context(socket.create_server((HOST, 0))) for _ in range(3)]
        yield [server.getsockname()[1] for server in servers]


@pytest.mark.parametrize("scheme", ["redis", "sentinel", "amqp"])
def test_whoever_asks_waits_no_longer_than_the_limit(silent: list[int], scheme: str) -> None:
    settings = {"CELERY_BROKER_URL": ";".join(f"{scheme}://a:b@{HOST}:{port}/0" for port in silent)}
    if scheme == "sentinel":
        settings["CELERY_BROKER_SENTINEL_MASTER"] = "main"
    else:
        settings["CELERY_BROKER_URL"] = f"{scheme}://a:b@{HOST}:{silent[0]}/0"
    ask = BrokerQuestion(load_settings(settings), BROKER_ANSWER)
    began = time.monotonic()
    # the second one while the first is still under way
    assert not ask()
    assert not ask()
    # a probe of Kubernetes waits for 5 s; each would take 6 s if all its steps were waited for
    assert time.monotonic() - began < 2 * 5


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
