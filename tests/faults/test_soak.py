"""The soak itself, for a very short time: it holds, says so, and leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

import psutil
import pytest

from tests.support.processes import REPOSITORY
from tests.support.waiting import wait_until

LIMIT = 600.0
SHORT = ("--minutes", "0.5", "--learners", "200", "--backlog", "200", "--workers", "2", "--bridges", "1")


class Run:
    """A soak as a process; leaving the block ends it."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        #: Where its servers and logs lie.
        self.folder = folder / "temporary"
        self.folder.mkdir()
        self._told = folder / "told"
        with self._told.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.soak", *SHORT, *arguments],
                cwd=REPOSITORY,
                env={**os.environ, "TMPDIR": str(self.folder)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.interrupt()
            self.wait()

    @property
    def told(self) -> str:
        """What it has said so far."""
        return self._told.read_text()

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def wait(self) -> int:
        """Wait for its end and give its exit code."""
        return self._process.wait(LIMIT)

    def wait_busy(self) -> None:
        """Wait until its processes are at work."""
        wait_until("the soak is at work", lambda: "are busy" in self.told or self._process.poll() is not None, LIMIT)
        assert self._process.poll() is None, self.told

    def left_behind(self) -> list[str]:
        """List what is left of it: files, servers, and processes of the product that know its Kafka."""
        (kafka, *_) = re.findall(r"kafka +ready on ([\d.:]+)", self.told)
        found = [str(path) for path in self.folder.iterdir()]
        for process in psutil.process_iter():
            try:
                words, environment = process.cmdline(), process.environ()
            except psutil.Error:
                continue
            if environment.get("KAFKA_BROKER_SERVERS") == kafka or any(str(self.folder) in word for word in words):
                found.append(" ".join(words))
        return found


def figure(output: str, name: str) -> int:
    (found,) = re.findall(rf"^ *{name} +([\d,]+)", output, re.MULTILINE)
    return int(found.replace(",", ""))


@pytest.mark.timeout(LIMIT + 60)
def test_a_short_soak_ends_well_and_says_so(tmp_path: Path, seed: int) -> None:
    with Run(tmp_path, "--seed", str(seed), "--poison", "1") as soak:
        assert soak.wait() == 0, soak.told
    for name in ("lost", "downgraded", "otherwise wrong rows and events"):
        assert figure(soak.told, name) == 0
    assert figure(soak.told, "dead-lettered") == 1
    assert figure(soak.told, "requests sent") >= 200
    assert figure(soak.told, "seed") == seed
    assert "\x1b" not in soak.told, "colours are for terminals"
    assert soak.left_behind() == []


@pytest.mark.timeout(LIMIT + 60)
def test_a_soak_that_is_interrupted_leaves_nothing_behind(tmp_path: Path) -> None:
    with Run(tmp_path) as soak:
        soak.wait_busy()
        assert soak.left_behind() != []
        soak.interrupt()
        assert soak.wait() == 130, soak.told
    assert "interrupted" in soak.told
    assert soak.left_behind() == []
