"""Sites and seeds for the fault suite. FAULT_SEED=… repeats a run's random choices."""

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from zlib import crc32

import pytest

from devstack.ports import Ports
from devstack.schema import AggregateLayout
from tests.conftest import RUN_SEED, MakeEnvironment, MakeKeyspace
from tests.faults.site import FAST, Site
from tests.faults.stage import Stage

MakeSite = Callable[..., Site]

_FAILED = pytest.StashKey[bool]()


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A test's own seed, made of the run's and of the test's name."""
    return int(os.environ[RUN_SEED]) ^ crc32(request.node.nodeid.encode())


@pytest.fixture(scope="session")
def sites_keyspace(make_keyspace: MakeKeyspace) -> str:
    """The keyspace of all sites, whose loads make so many rows that other tests would search long among them."""
    return make_keyspace(AggregateLayout.USER_IN_PARTITION)


@pytest.fixture
def make_site(
    request: pytest.FixtureRequest,
    ports: Ports,
    make_environment: MakeEnvironment,
    sites_keyspace: str,
    logs: Path,
) -> Iterator[MakeSite]:
    """Makes sites on names of their own, not started, with short waits; a test that is well ends them in order.

    The keyspace is shared by all, so learners' ids must be unique to a test.
    """
    sites: list[Site] = []
    with ExitStack() as made:

        def make(settings: Mapping[str, str] | None = None, *, workers: int = 2, bridges: int = 1) -> Site:
            environment = make_environment()
            every = {**FAST, **(settings or {})}
            sites.append(Site(ports, environment, sites_keyspace, logs, every, workers=workers, bridges=bridges))
            return made.enter_context(sites[-1])

        yield make
        if request.node.stash.get(_FAILED, False):
            # in whatever state a failed test left them, no orderly end is to be expected
            for process in (process for site in sites for process in site.processes):
                process.kill()


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """A running site: a bridge and two workers."""
    return make_site().start()


@pytest.fixture(scope="module")
def shared_stage(
    ports: Ports, make_environment: MakeEnvironment, shared_keyspace: MakeKeyspace, logs: Path
) -> Iterator[Stage]:
    """A stage that a module's tests share; each of them leaves it as it found it."""
    with Stage.opened(ports, make_environment, shared_keyspace, logs) as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
        report.sections.append(("how to repeat it", f"{RUN_SEED}={os.environ[RUN_SEED]}"))
    return report
