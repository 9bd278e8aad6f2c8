"""Where Flower listens, by its own start; what its pages show is tested in tests/browser."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from devstack.ports import free_port
from tests.support.processes import WORKER, Process
from tests.support.waiting import wait_until

UP_LIMIT = 60.0


def listening(tmp_path: Path, variables: Mapping[str, str], *arguments: str) -> list[str]:
    """Start Flower without a broker; gives the addresses that it listens on."""
    port = free_port()
    variables = {"CELERY_BROKER_URL": "redis://127.0.0.1:1/0", **variables}
    command = [*WORKER[:-1], "flower", f"--port={port}", *arguments]
    process = Process("flower", command, variables, tmp_path / "flower.log")
    process.start()

    def look() -> list[str]:
        process.check_alive()
        connections = psutil.Process(process.pid).net_connections("tcp")
        return [it.laddr.ip for it in connections if it.status == psutil.CONN_LISTEN and it.laddr.port == port]

    try:
        return wait_until("Flower listens", look, UP_LIMIT)
    finally:
        process.kill()


def test_flower_listens_on_its_own_host_alone(tmp_path: Path) -> None:
    assert listening(tmp_path, {}) == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("variables", "arguments"),
    [({"FLOWER_ADDRESS": "0.0.0.0"}, ()), ({}, ("--address=0.0.0.0",))],  # noqa: S104 - for the moment of a test
    ids=["variable", "option"],
)
def test_an_operator_may_open_it(tmp_path: Path, variables: dict[str, str], arguments: tuple[str, ...]) -> None:
    assert listening(tmp_path, variables, *arguments) == ["0.0.0.0"]  # noqa: S104 - as above


def test_columns_come_from_the_variable_where_it_is_set() -> None:
    told = subprocess.run(
        ["python3", "-c", "import flowerconfig; print(flowerconfig.tasks_columns)"],
        cwd=Path(__file__).parents[2],
        env={"PATH": os.environ["PATH"], "FLOWER_TASKS_COLUMNS": "uuid,state"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert told.stdout == "uuid,state\n"
