"""Servers for the tests: one stack of their own for the session, fresh names in it for each module.

TEST_CASSANDRA_VERSION is the version of its Cassandra; tests/versions runs against the other one.
TEST_KAFKA_PORT, TEST_CASSANDRA_PORT and TEST_REDIS_PORT move it, so that several runs can go side by side; the
processes that share one run's files (pytest -n) have a stack each, on the ports that follow. KEEP_STACK=1 leaves it
running and uses it again, which spares local runs the start. TEST_BROKER=rabbitmq has Celery use a RabbitMQ on
TEST_RABBITMQ_PORT. A server that can't be had fails the tests.
What the product's processes wrote is shown when a test fails.
"""

import fcntl
import logging
import os
import sys
import threading
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
import structlog
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from xdist.remote import Producer

from devstack.ports import FREE_PORTS, HOST, Ports, part_of_range
from devstack.schema import AggregateLayout, create_hierarchy_store, create_keyspace, drop_keyspace
from devstack.stack import Stack
from devstack.topics import create_topics, topic_names
from tests.support.run import ROOT, process_count, process_number, stack_of_this_run
from tests.support.sharing import Sharing, in_turn

# How long an example takes says how busy the machine is, and is no reason to fail.
hypothesis_settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("untimed")

# Names the number from which a run's random faults are drawn.
RUN_SEED = "FAULT_SEED"

MakeKeyspace = Callable[[AggregateLayout], str]
MakeEnvironment = Callable[[], str]

_LOGS = pytest.StashKey[list[Path]]()
_SHOWN_LOGS = 4
_SHOWN_CHARACTERS = 5_000


def pytest_configure() -> None:
    # In the environment: the processes that share a run's files take it from there.
    os.environ.setdefault(RUN_SEED, str(Random().randrange(2**32)))
    # a port that one of them found free is not found by another before somebody listens on it
    if process_count() > 1:
        os.environ[FREE_PORTS] = part_of_range(process_number(), process_count())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have files of all folders come in turn; the order within a file stays."""
    within = {item.path: item.path.relative_to(ROOT / "tests") for item in items}
    places = in_turn(within.values())
    items.sort(key=lambda item: (places[within[item.path]], item.path))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Sharing | None:
    """Share files out so that servers which only one folder has are started in one process."""
    return Sharing(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"{RUN_SEED}={os.environ[RUN_SEED]}")


def is_kept() -> bool:
    """Whether servers are left running."""
    return os.environ.get("KEEP_STACK") == "1"


@contextmanager
def ours_alone(file: Path) -> Iterator[None]:
    """Refuse to start on servers that another run uses: it would lose them in the middle of its tests."""
    file.parent.mkdir(exist_ok=True)
    with file.open("w") as handle:
        try:
            # The kernel lets go of it when this run ends, however it ends.
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.fail(
                "another test run uses these servers: wait for its end, or set TEST_KAFKA_PORT, TEST_CASSANDRA_PORT "
                "and TEST_REDIS_PORT to free ports"
            )
        yield


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The tests' own running servers. A test that harms one brings it back before it ends."""
    servers = stack_of_this_run()
    with ours_alone(ROOT / ".cache" / f"{servers.directory.name.removeprefix('.')}.lock"):
        if not is_kept():
            # What an interrupted run left behind.
            servers.down(delete=True)
        servers.up()
        try:
            yield servers
        finally:
            if not is_kept():
                servers.down(delete=True)


@pytest.fixture(scope="session")
def ports(stack: Stack) -> Ports:
    """Where the tests' servers listen."""
    return stack.ports


@pytest.fixture(scope="session")
def make_keyspace(ports: Ports) -> Iterator[MakeKeyspace]:
    """Makes a keyspace of its own, with production's tables in the layout that is asked for; returns its name."""
    made: list[str] = []

    def make(layout: AggregateLayout) -> str:
        name = f"test_{uuid.uuid4().hex[:12]}"
        create_keyspace(HOST, ports.cassandra, name, layout)
        made.append(name)
        return name

    yield make
    if is_kept():
        for name in made:
            drop_keyspace(HOST, ports.cassandra, name)


@pytest.fixture(scope="session")
def shared_keyspace(make_keyspace: MakeKeyspace) -> MakeKeyspace:
    """Gives the session's keyspace of a layout, made at first use."""
    made: dict[AggregateLayout, str] = {}

    def share(layout: AggregateLayout) -> str:
        if layout not in made:
            made[layout] = make_keyspace(layout)
        return made[layout]

    return share


@pytest.fixture(scope="module")
def keyspace(make_keyspace: MakeKeyspace) -> str:
    """A module's own keyspace, with user_activity_agg as in production."""
    return make_keyspace(AggregateLayout.USER_IN_PARTITION)


@pytest.fixture(scope="module")
def keyspace_other_layout(make_keyspace: MakeKeyspace) -> str:
    """A module's own keyspace, with the other PRIMARY KEY of user_activity_agg."""
    return make_keyspace(AggregateLayout.USER_IN_CLUSTERING)


@pytest.fixture(scope="session")
def hierarchy_store(ports: Ports) -> Iterator[str]:
    """The session's keyspace of the content service: relation sets as a table, and hierarchies."""
    name = f"test_{uuid.uuid4().hex[:12]}_store"
    create_hierarchy_store(HOST, ports.cassandra, name)
    yield name
    if is_kept():
        drop_keyspace(HOST, ports.cassandra, name)


@pytest.fixture(scope="session")
def make_environment(ports: Ports) -> MakeEnvironment:
    """Makes an environment of its own: a new value for ENV whose four topics exist; returns that value."""

    def make() -> str:
        name = f"test-{uuid.uuid4().hex[:12]}"
        create_topics(ports.bootstrap, topic_names(name))
        return name

    return make


@pytest.fixture(scope="module")
def environment(make_environment: MakeEnvironment) -> str:
    """A module's own value for ENV, its four topics created."""
    return make_environment()


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A folder for the processes' output."""
    folder = tmp_path_factory.mktemp("processes")
    request.config.stash[_LOGS] = [folder]
    return folder


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Undo what a test sets up for the whole process: the next one's lines would go to where this one's output was."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    hooks = sys.excepthook, threading.excepthook
    yield
    if structlog.is_configured():
        root.handlers = handlers
        root.setLevel(level)
        logging.captureWarnings(capture=False)
        sys.excepthook, threading.excepthook = hooks
        structlog.reset_defaults()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for folder in item.config.stash.get(_LOGS, []):
            newest = sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime)[-_SHOWN_LOGS:]
            for log in newest:
                text = log.read_text(encoding="utf-8", errors="replace")[-_SHOWN_CHARACTERS:]
                report.sections.append((f"{log}", text))
    return report
