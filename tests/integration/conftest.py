"""Installations for integration tests; what their processes wrote is shown when a test fails."""

from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path

import pytest

from devstack.ports import Ports
from devstack.schema import AggregateLayout
from tests.conftest import MakeEnvironment
from tests.support.installation import Installation
from tests.support.search import SearchService

MakeInstallation = Callable[..., Installation]

_LOGS = pytest.StashKey[list[Path]]()
_SHOWN_CHARACTERS = 5_000


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A folder for the processes' output."""
    folder = tmp_path_factory.mktemp("processes")
    request.config.stash[_LOGS] = [folder]
    return folder


@pytest.fixture(scope="session")
def make_installation(
    ports: Ports,
    make_environment: MakeEnvironment,
    shared_keyspace: Callable[[AggregateLayout], str],
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


@pytest.fixture(scope="session")
def shared_keyspace(make_keyspace: Callable[[AggregateLayout], str]) -> Callable[[AggregateLayout], str]:
    """Gives the session's keyspace of a layout, made at first use."""
    made: dict[AggregateLayout, str] = {}

    def share(layout: AggregateLayout) -> str:
        if layout not in made:
            made[layout] = make_keyspace(layout)
        return made[layout]

    return share


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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for folder in item.config.stash.get(_LOGS, []):
            newest = sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime)[-2:]
            for log in newest:
                text = log.read_text(encoding="utf-8", errors="replace")[-_SHOWN_CHARACTERS:]
                report.sections.append((f"{log}", text))
    return report
