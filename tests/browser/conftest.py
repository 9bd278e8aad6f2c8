"""Fixtures for what is looked at in a browser.

Not among the tests of `make test`: it needs a Chromium, which `.ci/browser` brings where it can.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.ports import Ports
from devstack.schema import AggregateLayout
from tests.browser.chromium import Chromium, find_chromium
from tests.browser.stage import AUTHORIZATION, SETTINGS, Flower, Stage, load
from tests.conftest import MakeEnvironment, MakeKeyspace
from tests.support.installation import Installation


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's executable."""
    found = find_chromium()
    assert found is not None, "there is no Chromium on PATH: .ci/browser installs one"
    return found


@pytest.fixture(scope="session")
def stage(
    chromium: str, ports: Ports, make_environment: MakeEnvironment, shared_keyspace: MakeKeyspace, logs: Path
) -> Iterator[Stage]:
    """Flower after a load: two requests done, one given up, one revoked, and the group that those two came in."""
    keyspace = shared_keyspace(AggregateLayout.USER_IN_PARTITION)
    with (
        Installation(ports, make_environment(), keyspace, logs, SETTINGS) as installation,
        Chromium(chromium, headers=AUTHORIZATION) as browser,
    ):
        flower = Flower(installation, logs)
        try:
            flower.start()
            yield load(installation, flower, browser)
            flower.process.end()
        finally:
            flower.process.kill()
