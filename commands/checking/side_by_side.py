"""Runs the looks at several servers beside each other, so that one that hangs holds up no other."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from commands.checking.findings import Finding, State, brief, words_of

#: Looks at one server, and says what it found.
Look = Callable[[], list[Finding]]


@dataclass(slots=True)
class _Turn:
    """One look under way."""

    thread: threading.Thread
    found: list[Finding] = field(default_factory=list)


def side_by_side(looks: Mapping[str, Look], limit: float) -> list[Finding]:
    """Run every look in a thread of its own; gives their findings in the order of `looks`.

    One that has not ended after `limit` seconds is told of and left to itself. The name of a look is its server's.
    """
    turns = {server: _begin(server, look) for server, look in looks.items()}
    ends = time.monotonic() + limit
    findings: list[Finding] = []
    for server, turn in turns.items():
        turn.thread.join(max(0.0, ends - time.monotonic()))
        if turn.thread.is_alive():
            step = "see whether it hangs; `--limit` gives it more time"
            findings.append(Finding(server, "answers", State.WRONG, f"not done after {limit:g} s", step))
        else:
            findings += turn.found
    return findings


def _begin(server: str, look: Look) -> _Turn:
    def run() -> None:
        try:
            turn.found = look()
        except Exception as error:  # noqa: BLE001 - what nobody foresaw with one server must not hide the others
            step = "this check failed by itself: tell those who maintain it"
            turn.found = [Finding(server, "can be checked", State.WRONG, brief(words_of(error)), step)]

    # a daemon, since a call that hangs must not keep the process
    turn = _Turn(threading.Thread(target=run, name=f"check {server}", daemon=True))
    turn.thread.start()
    return turn
