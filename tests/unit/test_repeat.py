"""The tally of tests that are run again and again."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.run import ROOT

SOME = """
import os
import pytest

def test_well():
    pass

@pytest.mark.parametrize("limit", [0, 2**32])
def test_with_a_seed(limit):
    assert int(os.environ["FAULT_SEED"]) < limit

@pytest.mark.skip
def test_skipped():
    pass
"""


def repeat(tally: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "tests.repeat", "--tally", str(tally), *arguments)
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def test_runs_add_up_and_failures_name_their_seeds(tmp_path: Path) -> None:
    tally, tests = tmp_path / "tally.jsonl", tmp_path / "test_some.py"
    tests.write_text(SOME)
    assert repeat(tally, "--times", "2", str(tests), "-k", "well").returncode == 0
    ended = repeat(tally, "--times", "1", str(tests))
    assert ended.returncode == 1

    outcomes = [json.loads(line) for line in tally.read_text().splitlines()]
    assert [(it["test"].split("::")[1], it["passed"]) for it in outcomes] == [
        ("test_well", True),
        ("test_well", True),
        ("test_well", True),
        ("test_with_a_seed[0]", False),
        ("test_with_a_seed[4294967296]", True),
    ]
    assert len({it["seed"] for it in outcomes}) == 3
    failed = next(line for line in ended.stdout.splitlines() if "test_with_a_seed[0]" in line)
    assert str(outcomes[3]["seed"]) in failed
    assert f"FAULT_SEED={outcomes[3]['seed']}: 2 passed, 1 failed" in ended.stdout


def test_a_run_that_pytest_could_not_make_is_no_run(tmp_path: Path) -> None:
    tally, tests = tmp_path / "tally.jsonl", tmp_path / "test_some.py"
    tests.write_text("import nothing_of_that_name")
    ended = repeat(tally, "--times", "3", str(tests))
    assert ended.returncode == 2
    assert "run 1: pytest did not come to its end" in ended.stdout
    assert not tally.exists()
