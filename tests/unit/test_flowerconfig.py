"""Where Flower listens, by its own start; what its pages show is tested in tests/browser."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from devstack.ports import free_port
from tests.support.processes import CELERY, Process
from tests.support.waiting import wait_until

UP_LIMIT = 60.0


def listening(tmp_path: Path, variables: Mapping[str, str], *arguments: str) -> list[str]:
    """Start Flower without a broker; gives the addresses that it listens on."""
    port = free_port()
    variables = {"CELERY_BROKER_URL": "redis://127.0.0.1:1/0", **variables}
    command = [*CELERY, "flower", f"--port={port}", *arguments]
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


def read_option(name: str, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Have the file read and print one of its options."""
    return subprocess.run(
        ["python3", "-c", f"import flowerconfig; print(flowerconfig.{name})"],
        cwd=Path(__file__).parents[2],
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_columns_come_from_the_variable_where_it_is_set() -> None:
    assert read_option("tasks_columns", {"FLOWER_TASKS_COLUMNS": "uuid,state"}).stdout == "uuid,state\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_password_may_stand_in_a_file(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "users"
    file.write_text("operator:pass word\n", encoding=encoding)
    assert read_option("basic_auth", {"FLOWER_BASIC_AUTH_FILE": str(file)}).stdout == "operator:pass word\n"


def test_a_password_s_file_that_is_of_no_use_ends_the_start(tmp_path: Path) -> None:
    empty, binary = tmp_path / "empty", tmp_path / "binary"
    empty.write_text("\n", encoding="utf-8")
    binary.write_bytes(b"secret\xff")
    for file, reason in ((empty, "it is empty"), (binary, "it is not UTF-8"), (tmp_path / "no", "No such file")):
        ended = read_option("basic_auth", {"FLOWER_BASIC_AUTH_FILE": str(file)})
        assert ended.returncode == 1
        [line] = ended.stderr.splitlines()
        assert line.startswith(f"FLOWER_BASIC_AUTH_FILE: can't read {file}: {reason}")
        assert "secret" not in line


def test_a_password_is_given_in_one_place(tmp_path: Path) -> None:
    ended = read_option("basic_auth", {"FLOWER_BASIC_AUTH_FILE": str(tmp_path), "FLOWER_BASIC_AUTH": "a:b"})
    assert (ended.returncode, "both" in ended.stderr) == (1, True)
