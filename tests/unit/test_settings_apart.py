"""Settings that a child of the process reads: the same ones, and nothing of what checks them stays."""

import sys
from pathlib import Path

from tests.support.ended import ended
from tests.support.processes import WORKER

_READ_APART = """
import os, signal, sys
from reconciliation.settings_apart import read_settings_apart
if sys.argv[1:] == ["ignored"]:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
if sys.argv[1:] == ["alone"]:
    def refuse():
        raise BlockingIOError("no process more")
    os.fork = refuse
read_settings_apart()
from reconciliation.settings import load_settings, process_settings
from reconciliation.errors import SettingsError
checking = {"pydantic", "pydantic_core", "pydantic_settings", "pyhocon"}
try:
    settings = process_settings()
except SettingsError as error:
    print(error)
else:
    print(not checking & set(sys.modules), settings.warnings, settings.redis_password, settings == load_settings())
"""


def told(*arguments: str, **variables: str) -> str:
    """Read settings apart, and give what is printed about them."""
    process = ended(sys.executable, "-c", _READ_APART, *arguments, **variables)
    assert process.returncode == 0
    assert process.stderr == ""
    return process.stdout


def test_they_are_what_the_process_itself_would_read_and_what_checks_them_is_not_loaded(tmp_path: Path) -> None:
    file = tmp_path / "own.conf"
    file.write_text('include "absent.conf"\nredis { password = "pass word" }\n', encoding="utf-8")
    line = told(CONFIG_FILE=str(file))
    assert line.startswith(f"True ('CONFIG_FILE: {tmp_path}/absent.conf (included by {file}, line 1) is not there")
    assert line.endswith(",) pass word True\n")


def test_wrong_ones_are_told_by_the_process_itself() -> None:
    assert told(REDIS_PORT="many").startswith("redis.port (REDIS_PORT in the environment) is 'many', but must be ")


def test_a_process_that_never_waits_for_its_children_reads_them_too() -> None:
    assert told("ignored") == "True () None True\n"


def test_a_process_that_may_have_no_child_reads_them_itself() -> None:
    assert told("alone") == "False () None True\n"


def test_a_worker_with_wrong_ones_says_so_and_ends() -> None:
    worker = ended(*WORKER, REDIS_PORT="many")
    assert worker.returncode == 2
    assert worker.stderr.startswith("redis.port (REDIS_PORT in the environment) is 'many'")
    assert len(worker.stderr.splitlines()) == 1
