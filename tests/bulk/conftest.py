"""Tables full of cases, in either key layout of user_activity_agg, and scans of them."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from bulk.model import TokenRange
from bulk.options import ScanOptions
from bulk.reader_process import Assignment, RangeReader, open_reader
from bulk.ring import FIRST, LAST
from bulk.scan import Scan
from devstack.ports import HOST, Ports
from devstack.schema import AggregateLayout
from reconciliation.settings import load_settings
from tests.bulk.cases import STUCK, Expected, expected_of, make_cases, tables, write_cases
from tests.conftest import RUN_SEED, MakeKeyspace
from tests.oracle import Case
from tests.support.relations import RelationSets
from tests.support.search import SearchService

OpenScan = Callable[..., Scan]
#: All tokens.
WHOLE = TokenRange(FIRST, LAST)
_DATABASE = 11
_CASES = 400


@dataclass(frozen=True, slots=True)
class Filled:
    """Tables with cases: the settings that lead there, and what a scan has to find."""

    keyspace: str
    settings: dict[str, str]
    cases: list[Case]
    expected: Expected


@contextmanager
def reader_of(settings: Mapping[str, str], folder: Path) -> Iterator[RangeReader]:
    """Open a reader of everything that is stuck, in this very process; aggregates are spilled to `folder`."""
    assignment = Assignment(
        settings=load_settings(settings),
        options=ScanOptions(),
        selection=STUCK,
        most_per_second=None,
        secret=b"s" * 32,
        folder=folder,
        parts=64,
        start_after=None,
    )
    with open_reader(assignment, lambda _: None, lambda _: None) as opened:
        yield opened


@pytest.fixture(scope="module")
def searched() -> Iterator[SearchService]:
    """A search service for a module's courses."""
    service = SearchService()
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def fill(ports: Ports, make_keyspace: MakeKeyspace, searched: SearchService) -> Callable[[AggregateLayout], Filled]:
    """Makes tables with cases of their own."""

    def make(layout: AggregateLayout) -> Filled:
        keyspace = make_keyspace(layout)
        cases = make_cases(Random(f"{os.environ[RUN_SEED]} {keyspace}"), _CASES)
        with closing(RelationSets(HOST, ports.redis, _DATABASE)) as relations, tables(ports, keyspace) as connected:
            write_cases(connected, relations, searched, cases)
        settings = {
            "LMS_CASSANDRA_PORT": str(ports.cassandra),
            "LMS_CASSANDRA_KEYSPACE": keyspace,
            "REDIS_PORT": str(ports.redis),
            "REDIS_DATABASE_RELATIONCACHE_ID": str(_DATABASE),
            "SERVICE_SEARCH_BASEPATH": searched.base_path,
        }
        return Filled(keyspace, settings, cases, expected_of(cases))

    return make


@pytest.fixture(scope="module")
def filled(fill: Callable[[AggregateLayout], Filled]) -> Filled:
    """Tables in production's layout."""
    return fill(AggregateLayout.USER_IN_PARTITION)


@pytest.fixture
def told() -> list[str]:
    """What the scans of a test said."""
    return []


@pytest.fixture
def open_scan(told: list[str]) -> OpenScan:
    """Gives a scan of tables, to be used as a context; more options and settings by name."""

    def make(where: Filled, settings: dict[str, str] | None = None, **options: object) -> Scan:
        environment = {**where.settings, **(settings or {})}
        return Scan(load_settings(environment), ScanOptions(**options), told.append)

    return make
