"""Tests again and again: `python -m tests.repeat --times 20 tests/faults`, or `make repeat TIMES=20 ARGS=tests/faults`.

A test that takes its chances is trusted once it has passed often. Each run has a seed of its own. What came of it is
added to a tally, so that the runs of several days count together. The exit code is 0 only where nothing failed.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import SystemRandom
from statistics import median
from typing import TextIO
from xml.etree import ElementTree as ET

import click
from rich.console import Console

from tests.support.run import ROOT

#: How the two of junit's elements that tell of a test that did not pass are called.
_BAD = ("failure", "error")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a test in one run: how long it took in seconds, the run's seed, and the commit it ran at."""

    test: str
    passed: bool
    seconds: float
    seed: int
    commit: str


def read_report(report: Path, seed: int, commit: str) -> list[Outcome]:
    """Read what pytest wrote with --junitxml; what was skipped is left out."""
    cases = ET.parse(report).iter("testcase")  # noqa: S314 - our own pytest wrote it
    return [
        Outcome(
            test=f"{case.get('classname')}::{case.get('name')}",
            passed=all(case.find(bad) is None for bad in _BAD),
            seconds=float(case.get("time") or 0),
            seed=seed,
            commit=commit,
        )
        for case in cases
        if case.find("skipped") is None
    ]


def by_test(outcomes: Iterable[Outcome]) -> Mapping[str, Sequence[Outcome]]:
    """Share outcomes out among their tests, the least often run first and then the one that failed most."""
    found: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        found.setdefault(outcome.test, []).append(outcome)
    return dict(sorted(found.items(), key=lambda it: (len(it[1]), -_failures(it[1]), it[0])))


def show(console: Console, outcomes: Iterable[Outcome]) -> None:
    """Print a line for each test: how often it ran and failed, how long it takes, and the seeds of failures."""
    console.print(" runs  failed  median, s  test, seeds of failures", style="bold")
    for test, runs in by_test(outcomes).items():
        took = median(run.seconds for run in runs)
        seeds = "".join(f" {run.seed}" for run in runs if not run.passed)
        line = f"{len(runs):5}  {_failures(runs):6}  {took:9.1f}  {test.removeprefix('tests.')}{seeds}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _failures(runs: Sequence[Outcome]) -> int:
    return sum(not run.passed for run in runs)


def _read(tally: Path) -> list[Outcome]:
    return [Outcome(**json.loads(line)) for line in tally.read_text().splitlines()] if tally.exists() else []


def _run_once(arguments: Sequence[str], seed: int, output: TextIO) -> list[Outcome] | None:
    """Run pytest once; None where it did not come to its end, as when a test can't be imported."""
    commit = subprocess.run(
        ("git", "describe", "--always", "--dirty"), cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    with tempfile.TemporaryDirectory(prefix="enrolment-repeat-") as folder:
        report = Path(folder) / "report.xml"
        command = (sys.executable, "-m", "pytest", f"--junitxml={report}", *arguments)
        settings = {**os.environ, "FAULT_SEED": str(seed)}
        ended = subprocess.run(command, cwd=ROOT, env=settings, stdout=output, stderr=subprocess.STDOUT, check=False)
        return read_report(report, seed, commit) if ended.returncode in (0, 1) else None


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--times", type=click.IntRange(1), default=20, show_default=True)
@click.option(
    "--tally",
    type=click.Path(path_type=Path, dir_okay=False),
    default=ROOT / "build" / "repeats.jsonl",
    help="Where outcomes are added.  [default: build/repeats.jsonl]",
)
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED)
def main(times: int, tally: Path, arguments: tuple[str, ...]) -> None:
    """Run pytest with ARGUMENTS several times, and say how often each test passed."""
    console = Console()
    tally.parent.mkdir(parents=True, exist_ok=True)
    log = tally.with_suffix(".log")
    is_well = True
    for number in range(1, times + 1):
        seed = SystemRandom().randrange(2**32)
        with log.open("a") as output:
            outcomes = _run_once(arguments, seed, output)
        if outcomes is None:
            console.print(f"run {number}: pytest did not come to its end, see {log}", highlight=False)
            sys.exit(2)
        with tally.open("a") as lines:
            lines.writelines(json.dumps(asdict(outcome)) + "\n" for outcome in outcomes)
        failed = _failures(outcomes)
        is_well = is_well and not failed
        told = f"{len(outcomes) - failed} passed, {failed} failed" + (f", see {log}" if failed else "")
        console.print(f"run {number} of {times}, FAULT_SEED={seed}: {told}", highlight=False, soft_wrap=True)
    show(console, _read(tally))
    sys.exit(0 if is_well else 1)


if __name__ == "__main__":
    main()
