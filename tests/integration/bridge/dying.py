"""A bridge that kills itself at one step: `python -m tests.integration.bridge.dying STEP`."""

import functools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from bridge.__main__ import main
from bridge.dispatch import Dispatcher
from bridge.kafka_input import KafkaInput
from ledger.ledger import Ledger
from reconciliation.failed_topic import FailedTopic

#: Each step: the call around which the bridge dies, and whether after it (else before).
STEPS: dict[str, tuple[type, str, bool]] = {
    "before accept": (Ledger, "accept", False),
    "after accept": (Ledger, "accept", True),
    "between two messages": (Dispatcher, "_publish", True),
    "after send": (Dispatcher, "send", True),
    "before commit": (KafkaInput, "commit", False),
    "after commit": (KafkaInput, "commit", True),
    "after failed events": (FailedTopic, "send", True),
    "in a revoke": (KafkaInput, "_leave", False),
}


def _deadly(call: Callable[..., Any], after: bool) -> Callable[..., Any]:
    @functools.wraps(call)
    def call_and_die(*arguments: Any, **named: Any) -> Any:
        if after:
            call(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    return call_and_die


if __name__ == "__main__":
    owner, name, dies_after = STEPS[sys.argv[1]]
    setattr(owner, name, _deadly(getattr(owner, name), dies_after))
    sys.argv = sys.argv[:1]
    sys.exit(main())
