"""Tables full of cases, in either key layout of user_activity_agg, and scans of them."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from random import Random

import pytest

from bulk.options import ScanOptions
from bulk.scan import Scan
from devstack.ports import HOST, Ports
from devstack.schema import AggregateLayout
from reconciliation.settings import load_settings
from tests.bulk.cases import Expected, expected_of, make_cases, tables, write_cases
from tests.conftest import RUN_SEED, MakeKeyspace
from tests.oracle import Case
from tests.support.relations import RelationSets
from tests.support.search import SearchService

OpenScan = Callable[..., Scan]
_DATABASE = 11
_CASES = 400


@dataclass(frozen=True, slots=True)
class Filled:
    """Tables with cases: the settings that lead there, and what a scan has to find."""

    keyspace: str
    settings: dict[str, str]
    cases: list[Case]
    expected: Expected


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
