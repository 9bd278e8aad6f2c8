"""One attempt in a process of its own: `python -m tasks.isolated ENTRY GENERATION TOKEN` (see tasks/isolation.py)."""

import math
import os
import signal
import sys
import time

from prometheus_client import CollectorRegistry

from ledger.entries import Ticket
from reconciliation.durations import Timed
from reconciliation.errors import LedgerUnavailable
from reconciliation.logs import configure_logging
from reconciliation.settings import process_settings
from tasks.isolation import BEGAN, EXIT_LEDGER_AWAY, report
from tasks.runner import make_runner
from worker.connections import connect
from worker.metrics import WorkerMetrics


def main(entry_id: str, generation: int, token: str) -> int:
    """Go on with the claim that `token` holds, and tell on standard output how it ended; gives the exit code."""
    settings = process_settings()
    configure_logging(settings.log_format, settings.log_level)
    timed: list[Timed] = []
    metrics = WorkerMetrics(CollectorRegistry(), timed)
    # the limit below must not be spent on a ledger that is away
    waits_until = time.monotonic() + settings.attempt_limit / 2
    connections = connect(settings, metrics)
    runner = make_runner(connections, is_isolated=True, is_stopping=lambda: time.monotonic() > waits_until)
    # the kernel ends this process in time, even where no Python code gets its turn any more
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(math.ceil(settings.attempt_limit))
    # a supervisor may tell all of a worker's processes to end, as systemd does (KillMode=control-group): the worker
    # waits for this one, and its end would be taken for the request's doing
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        # not before the claim: a process that is lost while it waits for the ledger convicts nobody
        summary = runner.run([Ticket(entry_id, generation)], token=token, began=lambda: _tell(BEGAN))
    except LedgerUnavailable:
        return EXIT_LEDGER_AWAY
    finally:
        connections.close()
    _tell(report(summary, metrics.counters, timed))
    return 0


def _tell(line: str) -> None:
    """Tell the process that waits; where it was killed meanwhile, what is done stands in the ledger all the same."""
    try:
        print(line, flush=True)  # noqa: T201 - for a process
    except BrokenPipeError:
        # what is still in the buffer would raise it again at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
