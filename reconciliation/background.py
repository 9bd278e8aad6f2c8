"""Threads beside the work, which goes on where none can be started."""

import threading
from collections.abc import Callable


def started(target: Callable[[], object], name: str, tell: Callable[[str], object]) -> threading.Thread | None:
    """Start a thread that does not keep the process from ending; None where none starts, and `tell` is told why."""
    thread = threading.Thread(target=target, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        # no thread is left for this process, or for its user (threading.py, Thread.start)
        tell(str(error))
        return None
    return thread
