"""Shows the servers' progress: live rows on a terminal, plain lines elsewhere."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from devstack.stack import Report


@contextmanager
def progress(console: Console) -> Iterator[Report]:
    """Yield a function that takes (server, message) and shows it; threads may call it at once."""
    if not console.is_terminal:
        yield lambda server, message: print(f"{server:<10}{message}", flush=True)
        return
    rows: dict[str, TaskID] = {}
    lock = threading.Lock()
    columns = (SpinnerColumn(), TextColumn("{task.fields[server]:<10}{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as live:

        def show(server: str, message: str) -> None:
            with lock:
                if server not in rows:
                    rows[server] = live.add_task(message, total=1, server=server)
                live.update(rows[server], description=message)

        yield show
        for row in rows.values():
            live.update(row, completed=1)
