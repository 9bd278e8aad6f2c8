"""What is made of what Kafka's client hands over."""

from typing import Any, cast

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, Message

from bridge.records import LATEST_MS, to_record


class Stamped:
    """A message with nothing but a time; Kafka's client lets nobody make one of its own."""

    def __init__(self, timestamp_ms: int) -> None:
        self._timestamp_ms = timestamp_ms

    def timestamp(self) -> tuple[int, int]:
        return TIMESTAMP_CREATE_TIME, self._timestamp_ms

    def __getattr__(self, _name: str) -> Any:
        return lambda: None


@pytest.mark.parametrize(
    ("stamped", "taken"),
    [
        pytest.param(0, 0, id="none"),
        pytest.param(-1, 0, id="not told"),
        pytest.param(1_700_000_000_000, 1_700_000_000_000, id="milliseconds"),
        pytest.param(1_700_000_000_000_000_000, LATEST_MS, id="nanoseconds"),
        pytest.param(2**63 - 1, LATEST_MS, id="the latest of all"),
    ],
)
def test_a_time_is_one_that_a_double_holds(stamped: int, taken: int) -> None:
    record = to_record(cast("Message", Stamped(stamped)))
    assert record.origin.timestamp_ms == taken
    assert int(float(taken)) == taken
