"""When a bridge sweeps."""

from typing import cast

import pytest

from bridge.dispatch import Dispatcher
from bridge.sweep import Sweeper
from ledger.ledger import Ledger


@pytest.mark.parametrize(("uptime", "waits"), [(0.0, True), (9.0, True), (10.0, False), (1e6, False)])
def test_a_bridge_that_starts_just_after_redis_gives_workers_time_to_renew(uptime: float, *, waits: bool) -> None:
    sweeper = Sweeper(cast("Ledger", None), cast("Dispatcher", None), interval=1, grace=10)
    sweeper.begin(100.0, uptime)
    assert sweeper.is_due(100.0) is not waits
    assert sweeper.is_due(110.0)
