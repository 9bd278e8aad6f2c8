"""A process that may start no more threads."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def no_thread_starts(name: str) -> Iterator[list[threading.Thread]]:
    """Refuse to start threads of this name within the block, as at a limit of processes; gives those refused."""
    refused: list[threading.Thread] = []
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name != name:
            start(thread)
            return
        refused.append(thread)
        raise RuntimeError("can't start new thread")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        yield refused
