"""Which broker the tests run with: Redis, or with TEST_BROKER=rabbitmq a RabbitMQ on TEST_RABBITMQ_PORT.

Free of pytest: longer runs outside the tests use it too.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import amqp
from celery import Celery

from devstack.ports import HOST, Ports
from devstack.rabbitmq import RabbitMqServer
from tests.support.run import RABBITMQ, rabbitmq_port, stack_of_this_run

_LIMIT_SECONDS = 20.0


def rabbitmq_url(port: int) -> str:
    """Give a local RabbitMQ's address as Celery takes it."""
    return f"amqp://guest:guest@{HOST}:{port}//"


def broker_url(ports: Ports) -> str:
    """Give the address of this run's broker as Celery takes it."""
    port = rabbitmq_port()
    return ports.redis_url(0) if port is None else rabbitmq_url(port)


@contextmanager
def operator(settings: Mapping[str, str], group_id: str) -> Iterator[Celery]:
    """Give Celery as an operator of this environment has it who knows no setting but the broker's."""
    url = settings["CELERY_BROKER_URL"]
    with Celery("operator", set_as_current=False, broker=url) as app:
        app.conf.broker_transport_options = {"global_keyprefix": f"{group_id}:celery:"} if url[0] == "r" else {}
        if url[0] == "a":
            app.conf.control_exchange = f"{group_id}.control"
        yield app


@contextmanager
def channel(url: str) -> Iterator[Any]:
    """Give a channel of a local RabbitMQ."""
    address = url.rpartition("@")[2].rstrip("/")
    connection = amqp.Connection(address, connect_timeout=_LIMIT_SECONDS, read_timeout=_LIMIT_SECONDS)
    connection.connect()
    try:
        yield connection.channel()
    finally:
        connection.close()


def remove_queues(settings: Mapping[str, str], group_id: str) -> None:
    """Take an environment's queues and exchanges out of RabbitMQ; of Redis nothing needs to be."""
    url = settings.get("CELERY_BROKER_URL", "")
    if url.startswith("amqp://guest:guest@"):
        with channel(url) as ours:
            for name in (group_id, f"{group_id}-bulk"):
                ours.queue_delete(name)
            for name in (group_id, f"{group_id}-bulk", f"{group_id}.control.pidbox", f"reply.{group_id}.control.pidbox",
                         f"{group_id}.events"):  # fmt: skip
                ours.exchange_delete(name)


def control_rabbitmq(*arguments: str) -> str:
    """Run `rabbitmqctl` for this run's RabbitMQ; gives what it printed. Raises DevstackError."""
    server = stack_of_this_run().server(RABBITMQ)
    assert isinstance(server, RabbitMqServer)
    return server.control(*arguments)
