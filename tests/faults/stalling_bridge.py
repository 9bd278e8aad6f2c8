"""A bridge that stalls at one step while a file exists: `python -m tests.faults.stalling_bridge STEP FILE`.

Its heartbeats go on meanwhile, as in a process whose thread hangs; so Kafka misses nothing but its polls, and that
after seconds instead of minutes.
"""

import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bridge import kafka_input
from bridge.__main__ import main
from bridge.dispatch import Dispatcher
from ledger.ledger import Ledger

#: Each step: the call around which the bridge stalls, and whether after it (else before).
STEPS: dict[str, tuple[type, str, bool]] = {
    "before accept": (Ledger, "accept", False),
    "before send": (Dispatcher, "send", False),
    "before commit": (kafka_input.KafkaInput, "commit", False),
    "after commit": (kafka_input.KafkaInput, "commit", True),
}

#: Below Kafka's usual limits, so that a test sees them passed.
IMPATIENT = {"session.timeout.ms": 6_000, "max.poll.interval.ms": 7_000}

_LOOKS_EVERY = 0.05


def _stalling(call: Callable[..., Any], after: bool, file: Path) -> Callable[..., Any]:
    def stall() -> None:
        while file.exists():
            time.sleep(_LOOKS_EVERY)

    @functools.wraps(call)
    def call_and_stall(*arguments: Any, **named: Any) -> Any:
        if not after:
            stall()
        answer = call(*arguments, **named)
        if after:
            stall()
        return answer

    return call_and_stall


def _impatient(config: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    @functools.wraps(config)
    def configure(*arguments: Any) -> dict[str, Any]:
        return {**config(*arguments), **IMPATIENT}

    return configure


if __name__ == "__main__":
    owner, name, stalls_after = STEPS[sys.argv[1]]
    setattr(owner, name, _stalling(getattr(owner, name), stalls_after, Path(sys.argv[2])))
    # the name by which the input knows it
    vars(kafka_input)["consumer_config"] = _impatient(vars(kafka_input)["consumer_config"])
    sys.argv = sys.argv[:1]
    sys.exit(main())
