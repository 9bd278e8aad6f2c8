"""What is special in RabbitMQ as Celery's broker. Not among the tests of `make test`: see `make test-rabbitmq`."""

from collections.abc import Callable, Iterator

import pytest

from devstack.rabbitmq import RabbitMqServer
from devstack.stack import Stack
from tests.support.run import RABBITMQ, is_rabbitmq

Evaluate = Callable[[str], None]


@pytest.fixture(scope="session")
def rabbitmq(stack: Stack) -> RabbitMqServer:
    """The broker."""
    assert is_rabbitmq(), "these run with TEST_BROKER=rabbitmq alone: `make test-rabbitmq`"
    server = stack.server(RABBITMQ)
    assert isinstance(server, RabbitMqServer)
    return server


@pytest.fixture
def soon_impatient(rabbitmq: RabbitMqServer) -> Iterator[None]:
    """Have RabbitMQ close a channel whose message is not acknowledged for two seconds, 30 minutes otherwise."""
    before = rabbitmq.control("eval", "{application:get_env(rabbit, consumer_timeout, 1800000), "
                                      "application:get_env(rabbit, channel_tick_interval, 60000)}.")  # fmt: skip
    timeout, interval = before.strip().strip("{}").split(",")
    _set_patience(rabbitmq, "2000", "1000")
    yield
    _set_patience(rabbitmq, timeout, interval)


def _set_patience(server: RabbitMqServer, timeout: str, interval: str) -> None:
    # channels that are open keep what they began with
    server.control(
        "eval",
        f"application:set_env(rabbit, consumer_timeout, {timeout}), "
        f"application:set_env(rabbit, channel_tick_interval, {interval}).",
    )
