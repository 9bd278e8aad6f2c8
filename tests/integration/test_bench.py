"""Every measurement runs from its first line to its table, on a handful of learners."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.parts import LEVELS
from devstack.ports import Ports
from tests.support.processes import REPOSITORY

LIMIT_SECONDS = 280


def run_measurement(ports: Ports, *command: str) -> str:
    """Run a module of benchmarks/ on the tests' servers; gives what it printed, insists on exit code 0."""
    ended = subprocess.run(
        [sys.executable, "-m", *command, "--use-stack"],
        cwd=REPOSITORY,
        env={
            "PATH": os.environ["PATH"],
            "COLUMNS": "200",
            "DEVSTACK_KAFKA_PORT": str(ports.kafka),
            "DEVSTACK_CASSANDRA_PORT": str(ports.cassandra),
            "DEVSTACK_REDIS_PORT": str(ports.redis),
        },
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_it_measures_and_reports(ports: Ports, tmp_path: Path) -> None:
    report = tmp_path / "bench.json"
    small = ("--learners", "100", "--courses", "5", "--rounds", "2", "--lone", "5")
    assert "product / bare loop" in run_measurement(ports, "benchmarks", "--json", str(report), *small)
    found = json.loads(report.read_text())
    (compared,) = found["compared"]
    assert len(compared["bare"]) == 2
    # half of the learners have completed, and nothing is announced twice
    assert [(it["certificates"], it["audits"]) for it in compared["product"]] == [(50, 50), (50, 50)]
    assert len(found["lone_requests_ms"]) == 5


def test_a_flood_is_watched_to_its_end(ports: Ports) -> None:
    told = run_measurement(ports, "benchmarks.flood", "--learners", "100", "--clicks", "20", "--workers", "1")
    assert re.search(r"(?m)^ *2,000 ", told)
    assert "certificates: 50\n" in told


def test_the_parts_are_measured_apart(ports: Ports) -> None:
    small = ("--learners", "100", "--rounds", "1", "--workers", "1", "--group-size", "25")
    told = run_measurement(ports, "benchmarks.parts", *small)
    assert [level for level in LEVELS.values() if level in told] == list(LEVELS.values())


def test_a_scan_finds_what_is_hidden(ports: Ports, tmp_path: Path) -> None:
    report = tmp_path / "scan.json"
    small = ("--enrolments", "1000", "--courses", "3", "--stuck", "0.2")
    told = run_measurement(ports, "benchmarks.bulk_scan", "--json", str(report), *small)
    assert "filled 1,000 enrolments" in told
    scans = json.loads(report.read_text())["scans"]
    assert [(it["aggregates"], it["enrolments"], it["missed"], it["too_many"]) for it in scans] == [
        (True, 1000, [], []),
        (False, 1000, [], []),
    ]
    with_aggregates, without = (it["found"] for it in scans)
    assert with_aggregates > without > 50
    assert all("this process" in it["megabytes"] for it in scans)
