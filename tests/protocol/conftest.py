"""A Cassandra that takes the newest version of its protocol alone, beside the tests' own servers.

The fixtures that lead to Cassandra are registered here anew, as in tests/versions.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from devstack.cassandra import CassandraServer
from devstack.ports import Ports
from devstack.server import Place
from devstack.stack import Stack, packages_cache
from tests.conftest import (  # noqa: F401 - the fixtures among them are registered here
    is_kept,
    keyspace,
    keyspace_other_layout,
    make_environment,
    make_keyspace,
    shared_keyspace,
)
from tests.contract.conftest import (  # noqa: F401 - as above
    cassandra,
    closed_port,
    connect,
    counters,
    database,
    eventually,
    key,
    store,
    store_config,
)
from tests.integration.conftest import make_installation  # noqa: F401 - as above
from tests.support.run import ROOT, cassandra_version
from tests.versions.conftest import running

# beside the ports of the tests' other servers
_AWAY = 600


@pytest.fixture(scope="session")
def strict_cassandra(stack: Stack) -> Iterator[CassandraServer]:
    """A running Cassandra that refuses older versions of the protocol."""
    moved = replace(stack.ports, cassandra=stack.ports.cassandra + _AWAY)
    place = Place(ROOT / f".devstack-test-cassandra-protocol-{moved.cassandra}", packages_cache(), moved)
    with running(CassandraServer(place, version=cassandra_version(), newest_protocol_alone=True)) as server:
        yield server


@pytest.fixture(scope="package", autouse=True)
def ended_with_the_folder(strict_cassandra: CassandraServer) -> Iterator[None]:
    """Ends it before the session's end, as in tests/versions."""
    yield
    if not is_kept():
        strict_cassandra.end()


@pytest.fixture(scope="session")
def ports(stack: Stack, strict_cassandra: CassandraServer) -> Ports:
    """Where the tests' Kafka and Redis listen, and that Cassandra."""
    return replace(stack.ports, cassandra=strict_cassandra.port)
