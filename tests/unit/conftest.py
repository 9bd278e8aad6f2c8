"""What every unit test begins with."""

from collections.abc import Iterator

import pytest

from reconciliation.settings import process_settings


@pytest.fixture(autouse=True)
def settings_read_anew() -> Iterator[None]:
    """Have each test's settings be its own: a process reads its environment once, and many tests share this one."""
    process_settings.cache_clear()
    yield
    process_settings.cache_clear()
