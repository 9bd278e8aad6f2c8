"""Stands for bridges alone."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devstack.ports import Ports
from tests.conftest import MakeEnvironment
from tests.integration.bridge.harness import BridgeStand

MakeStand = Callable[..., BridgeStand]


@pytest.fixture
def make_stand(ports: Ports, make_environment: MakeEnvironment, logs: Path) -> Iterator[MakeStand]:
    """Makes stands on names of their own; settings are given as environment variables."""
    made: list[BridgeStand] = []

    def make(environment: str | None = None, **settings: str) -> BridgeStand:
        made.append(BridgeStand(ports, environment or make_environment(), logs, settings))
        return made[-1]

    yield make
    for stand in made:
        stand.close()


@pytest.fixture
def stand(make_stand: MakeStand) -> BridgeStand:
    """A stand with default settings."""
    return make_stand()
