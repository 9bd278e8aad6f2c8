"""A Cassandra of the other version beside the tests' own servers, until the folder's last test has ended.

KEEP_STACK=1 leaves it running.

The fixtures that lead to Cassandra are registered here anew, so that these tests have those of this folder: pytest
keeps a session's fixture by where it is registered.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from devstack.cassandra import VERSIONS, CassandraServer
from devstack.ports import Ports
from devstack.server import Place
from devstack.stack import Stack, packages_cache
from tests.conftest import (  # noqa: F401 - the fixtures among them are registered here
    hierarchy_store,
    is_kept,
    keyspace,
    keyspace_other_layout,
    make_environment,
    make_keyspace,
    ours_alone,
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

# beside the ports of the tests' other servers
_AWAY = 500


@pytest.fixture(scope="session")
def other_version() -> str:
    """The version that the tests' own Cassandra is not."""
    (other,) = set(VERSIONS) - {cassandra_version()}
    return other


@pytest.fixture(scope="session")
def other_cassandra(stack: Stack, other_version: str) -> Iterator[CassandraServer]:
    """A running Cassandra of the other version."""
    moved = replace(stack.ports, cassandra=stack.ports.cassandra + _AWAY)
    folder = ROOT / f".devstack-test-cassandra-{other_version}-{moved.cassandra}"
    with running(CassandraServer(Place(folder, packages_cache(), moved), version=other_version)) as server:
        yield server


@contextmanager
def running(server: CassandraServer) -> Iterator[CassandraServer]:
    """Have a server with a folder of its own run within the block, and longer with KEEP_STACK=1."""
    folder = server.place.directory
    with ours_alone(ROOT / ".cache" / f"{folder.name}.lock"):
        if not is_kept():
            # what an interrupted run left behind
            server.end()
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        if not server.answers():
            server.end()
            server.start()
        try:
            yield server
        finally:
            if not is_kept():
                server.end()
                shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="package", autouse=True)
def ended_with_the_folder(other_cassandra: CassandraServer) -> Iterator[None]:
    """Ends it before the session's end: the fixtures that lead to it are the session's, as elsewhere."""
    yield
    if not is_kept():
        other_cassandra.end()


@pytest.fixture(scope="session")
def ports(stack: Stack, other_cassandra: CassandraServer) -> Ports:
    """Where the tests' Kafka and Redis listen, and a Cassandra of the other version."""
    return replace(stack.ports, cassandra=other_cassandra.port)
