"""Installations for integration tests."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from devstack.ports import Ports
from devstack.schema import AggregateLayout
from tests.conftest import MakeEnvironment, MakeKeyspace
from tests.support.installation import Installation
from tests.support.search import SearchService

MakeInstallation = Callable[..., Installation]


@pytest.fixture(scope="session")
def make_installation(
    ports: Ports,
    make_environment: MakeEnvironment,
    shared_keyspace: MakeKeyspace,
    logs: Path,
) -> MakeInstallation:
    """Makes an installation on names of its own, not started; use it as a context.

    The keyspace is shared by all that have the same layout, so learners' ids must be unique to a test.
    """

    def make(
        settings: Mapping[str, str] | None = None,
        *,
        layout: AggregateLayout = AggregateLayout.USER_IN_PARTITION,
        keyspace: str | None = None,
        relation_database: int = 10,
    ) -> Installation:
        return Installation(
            ports, make_environment(), keyspace or shared_keyspace(layout), logs, settings, relation_database
        )

    return make


@pytest.fixture(scope="module")
def installation(make_installation: MakeInstallation) -> Iterator[Installation]:
    """A running installation with default settings, shared by a module."""
    with make_installation() as made:
        yield made.start()


@pytest.fixture
def search() -> Iterator[SearchService]:
    """A search service that answers."""
    service = SearchService()
    service.start()
    try:
        yield service
    finally:
        service.stop()
