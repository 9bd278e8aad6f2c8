"""Drives a bulk run over pages of enrolments: `python -m tests.support.bulk_driver FILE`, an `Order` as JSON.

It ends with code 0 when the run is finished, 1 when it was interrupted, 2 where it is refused, 3 when it stopped
itself, and 4 when the ledger forgot.
"""

import json
import sys
import time
import uuid
from pathlib import Path
from typing import TypedDict

from bulk.means import Means, open_means, this_process
from bulk.runs import DrivenRun, Run, RunRefused, RunState, life_of
from bulk.submission import LedgerForgot, Submission, TooManyGivenUp
from commands.interruption import Interruption
from reconciliation.model import EnrolmentKey
from reconciliation.settings import process_settings

FINISHED, INTERRUPTED, REFUSED, STOPPED, FORGOT = range(5)


class Order(TypedDict):
    """What is to be driven: pages of (user, course, batch); the lease in seconds."""

    run_id: str
    pages: list[list[tuple[str, str, str]]]
    resume: bool
    rate: float | None
    most_given_up: int
    lease: float


def main(order: Order) -> int:
    """Drive the run; gives the exit code."""
    settings = process_settings()
    with open_means(settings, order["lease"]) as means, Interruption() as interruption:
        try:
            driven = take(means, order)
        except RunRefused as refused:
            print(refused)  # noqa: T201 - for the test
            return REFUSED
        submission = Submission(
            ledger=means.ledger,
            driven=driven,
            sender=means.sender,
            interruption=interruption,
            rate=order["rate"],
            most_given_up=order["most_given_up"],
            tell=lambda progress: print(progress, flush=True),  # noqa: T201 - for the test
        )
        now_ms = time.time_ns() // 1_000_000
        try:
            is_done = drive(driven, submission, order)
        except TooManyGivenUp as stopped:
            driven.end(RunState.STOPPED, now_ms, str(stopped))
            return STOPPED
        except LedgerForgot as forgot:
            driven.end(RunState.FAILED, now_ms, str(forgot))
            return FORGOT
        driven.end(RunState.FINISHED if is_done else RunState.INTERRUPTED, now_ms)
        return FINISHED if is_done else INTERRUPTED


def take(means: Means, order: Order) -> DrivenRun:
    """Begin the run, or go on with it."""
    life, token = life_of(means.ledger.verify()), uuid.uuid4().hex
    if order["resume"]:
        driven = means.runs.resume(order["run_id"], token, this_process(), life)
        driven.go_on()
        return driven
    run = Run(order["run_id"], "{}", "{}", time.time_ns() // 1_000_000)
    return means.runs.begin(run, token, this_process(), life)


def drive(driven: DrivenRun, submission: Submission, order: Order) -> bool:
    """Submit page by page from the checkpoint on, and wait for the end; says False where it was interrupted."""
    for number, page in enumerate(order["pages"], 1):
        if number <= (driven.run.checkpoint or 0):
            continue
        if not submission.submit([EnrolmentKey(*ids) for ids in page]):
            return False
        driven.save(checkpoint=number, found=driven.run.found + len(page))
    return submission.wait_for_end()


if __name__ == "__main__":
    sys.exit(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
