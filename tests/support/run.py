"""Where the servers of a test run are, from its environment; the processes that share a run have a stack each."""

import os
from pathlib import Path

from devstack.cassandra import VERSIONS
from devstack.ports import Ports
from devstack.stack import Stack

ROOT = Path(__file__).resolve().parents[2]

RABBITMQ = "rabbitmq"
_DEFAULT_PORTS = Ports(kafka=29092, cassandra=29042, redis=26379)
_DEFAULT_RABBITMQ_PORT = 28672


def ports_of_this_run() -> Ports:
    """Where this run's servers listen."""
    process = process_number()
    return Ports(
        kafka=int(os.environ.get("TEST_KAFKA_PORT") or _DEFAULT_PORTS.kafka) + process,
        cassandra=int(os.environ.get("TEST_CASSANDRA_PORT") or _DEFAULT_PORTS.cassandra) + process,
        redis=int(os.environ.get("TEST_REDIS_PORT") or _DEFAULT_PORTS.redis) + process,
    )


def cassandra_version() -> str:
    """The version of this run's Cassandra, one of devstack's."""
    return os.environ.get("TEST_CASSANDRA_VERSION") or VERSIONS[0]


def is_rabbitmq() -> bool:
    """Whether the tests were asked to run with RabbitMQ as Celery's broker."""
    return os.environ.get("TEST_BROKER") == RABBITMQ


def rabbitmq_port() -> int | None:
    """Where this run's RabbitMQ listens, None where there is none."""
    if not is_rabbitmq():
        return None
    return int(os.environ.get("TEST_RABBITMQ_PORT") or _DEFAULT_RABBITMQ_PORT) + process_number()


def stack_of_this_run() -> Stack:
    """Give this run's servers, which may run or not."""
    ports, rabbitmq = ports_of_this_run(), rabbitmq_port()
    moved = "" if ports == _DEFAULT_PORTS else f"-{ports.kafka}-{ports.cassandra}-{ports.redis}"
    moved += "" if rabbitmq is None else f"-{RABBITMQ}-{rabbitmq}"
    return Stack(ROOT / f".devstack-test{moved}", ports, rabbitmq_port=rabbitmq, cassandra=cassandra_version())


def process_number() -> int:
    """Which of the processes that share the run this is, from 0."""
    # pytest-xdist calls them gw0, gw1, …
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def process_count() -> int:
    """How many processes share the run's files."""
    return int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
