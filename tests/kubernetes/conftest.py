"""Fixtures for the chart; those of the servers are not needed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.chart import EVERYTHING, Objects, render

Render = Callable[[dict[str, Any]], Objects]


@pytest.fixture
def rendered(tmp_path: Path) -> Render:
    """Render the chart with values."""
    return lambda values: render(tmp_path, values)


@pytest.fixture(scope="session")
def defaults(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    """What the chart makes of no values at all."""
    return render(tmp_path_factory.mktemp("defaults"), {})


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    """What it makes where everything is on."""
    return render(tmp_path_factory.mktemp("everything"), EVERYTHING)
