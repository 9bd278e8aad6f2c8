"""`make bench` runs from its first line to its table, on a handful of learners."""

import json
import os
import subprocess
import sys
from pathlib import Path

from devstack.ports import Ports
from tests.support.processes import REPOSITORY

LIMIT_SECONDS = 280


def test_it_measures_and_reports(ports: Ports, tmp_path: Path) -> None:
    report = tmp_path / "bench.json"
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks", "--use-stack", "--json", str(report)),
            *("--learners", "100", "--courses", "5", "--rounds", "2", "--lone", "5"),
        ],
        cwd=REPOSITORY,
        env={
            "PATH": os.environ["PATH"],
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
    assert "product / bare loop" in ended.stdout
    found = json.loads(report.read_text())
    (compared,) = found["compared"]
    assert len(compared["bare"]) == 2
    # half of the learners have completed, and nothing is announced twice
    assert [(it["certificates"], it["audits"]) for it in compared["product"]] == [(50, 50), (50, 50)]
    assert len(found["lone_requests_ms"]) == 5
