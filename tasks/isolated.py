"""One attempt in a process of its own: `python -m tasks.isolated ENTRY GENERATION TOKEN` (see tasks/isolation.py)."""

import math
import signal
import sys
import time

from prometheus_client import CollectorRegistry

from ledger.entries import Ticket
from reconciliation.counters import Counters
from reconciliation.errors import LedgerUnavailable
from reconciliation.logs import configure_logging
from reconciliation.settings import process_settings
from tasks.isolation import BEGAN, EXIT_LEDGER_AWAY, report
from tasks.runner import make_runner
from worker.connections import connect


def main(entry_id: str, generation: int, token: str) -> int:
    """Go on with the claim that `token` holds, and tell on standard output how it ended; gives the exit code."""
    settings = process_settings()
    configure_logging(settings.log_format, settings.log_level)
    counters = Counters(CollectorRegistry())
    # the limit below must not be spent on a ledger that is away
    waits_until = time.monotonic() + settings.attempt_limit / 2
    connections = connect(settings, counters)
    runner = make_runner(connections, is_isolated=True, is_stopping=lambda: time.monotonic() > waits_until)
    # the kernel ends this process in time, even where no Python code gets its turn any more
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(math.ceil(settings.attempt_limit))
    print(BEGAN, flush=True)  # noqa: T201 - for the process that waits for it
    try:
        summary = runner.run([Ticket(entry_id, generation)], token)
    except LedgerUnavailable:
        return EXIT_LEDGER_AWAY
    finally:
        connections.close()
    print(report(summary, counters))  # noqa: T201 - for the process that waits for it
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
