"""Whether Celery's broker is there, asked of one that is, of one that hangs, and where there is none."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from devstack.ports import HOST, Ports, free_port
from devstack.stack import Stack
from reconciliation.settings import load_settings
from tests.support.waiting import wait_until
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
    for _ in range(2):
        began = time.monotonic()
        assert not ask()
        # a probe of Kubernetes waits for 5 s, and all steps take 6 s of sentinels and AMQP
        assert time.monotonic() - began < 5


def test_what_comes_late_is_told_to_whoever_asks_next(ports: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = question(ports.redis_url(0), 0.2)
    goes_on = threading.Event()
    answer = ask._ask_redis
    monkeypatch.setattr(ask, "_ask_redis", lambda: goes_on.wait(60) and answer())
    assert not ask()
    goes_on.set()
    wait_until("it is answered", lambda: ask._asked is not None and ask._asked.done())
    # as where the first of two sentinels is silent: the answer takes longer than anybody waits
    goes_on.clear()
    assert ask()
    assert not ask()
    goes_on.set()


def test_an_error_that_nobody_foresaw_is_told_once_and_not_kept(ports: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = question(ports.redis_url(0), 10.0)
    with monkeypatch.context() as broken:
        broken.setattr(ask, "_ask_redis", lambda: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            ask()
    assert ask()


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
