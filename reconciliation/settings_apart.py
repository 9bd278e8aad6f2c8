"""Reads a process's settings in a child of it, so that what checks them is not in its memory for as long as it runs."""

import os
import pickle
from contextlib import suppress
from typing import NoReturn

from reconciliation.settings import give_process_settings, load_settings


def read_settings_apart() -> None:
    """Let a child of this process read the settings that `process_settings` gives from then on.

    They are checked once, and pydantic, with which that is done, takes 10 MiB (docs/performance.md). Call it first of
    all: a process is copied here, and none that has threads may be. Where there can be no child, or it ends without an
    answer, nothing changes: `process_settings` reads the settings itself, and says what is wrong with them.
    """
    reading, writing = os.pipe()
    try:
        child = os.fork()
    except OSError:
        # no process more is allowed, or there is no memory for one: whoever can't go on without will say so
        os.close(reading)
        os.close(writing)
        return
    if not child:
        os.close(reading)
        _answer(writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    # where our parent has children that end ignored, and we with it, there is none to wait for
    with suppress(ChildProcessError):
        os.waitpid(child, 0)
    if answer:
        give_process_settings(pickle.loads(answer))  # noqa: S301 - it was written by this very program


def _answer(writing: int) -> NoReturn:
    """Write the settings into a pipe and end at once, whatever happens, without what a process does at its end."""
    try:
        answer = pickle.dumps(load_settings())
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(answer)
    finally:
        os._exit(0)
