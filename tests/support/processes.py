"""Starts the bridge and workers as their users do, and ends them by their process ids."""

import codecs
import contextlib
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil

from devstack.process import freeze
from tests.support.waiting import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]

BRIDGE = (sys.executable, "-m", "bridge")
WORKER = (sys.executable, "-m", "worker")

#: Celery's own command line, to which its command is added; `worker` is one, too.
CELERY = (str(Path(sys.executable).with_name("celery")), "-A", "worker")


def has_ended(pid: int) -> bool:
    """Say whether a process has ended; one that nobody has taken notice of yet has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def celery_worker(app: str) -> tuple[str, ...]:
    """Give Celery's own command for a worker of the app in this module."""
    return (CELERY[0], "-A", app, "worker")


#: How long SIGTERM may take; what the documentation asks operators to grant.
GRACE_SECONDS = 120.0

#: How long a process may take until it handles SIGTERM.
HEARING_SECONDS = 60.0

_SHOWN_CHARACTERS = 6_000
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_COLOUR_BEGINS = re.compile(r"\x1b(\[[0-9;]*)?$")


class Output:
    """What is written to a log, colours taken out. Only what is new is read: it is looked at again and again."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._size = 0
        self._decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
        self._text = ""
        # the beginning of a colour whose end is not written yet
        self._rest = ""

    def read(self) -> str:
        """Give everything that was written so far."""
        if not self._log.exists() or self._log.stat().st_size <= self._size:
            return self._text
        with self._log.open("rb") as file:
            file.seek(self._size)
            new = file.read()
        self._size += len(new)
        text = self._rest + self._decoder.decode(new)
        begun = _COLOUR_BEGINS.search(text)
        self._rest = begun.group() if begun else ""
        self._text += _COLOUR.sub("", text.removesuffix(self._rest))
        return self._text


class Process:
    """One process of the product; its output goes to `log`, which later starts append to."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        # nothing else is inherited: a variable of the machine must not change what is tested
        self._environment = {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", **environment}
        self._folder = REPOSITORY
        self._running: subprocess.Popen[bytes] | None = None
        self._may_end = False
        self._errors: Path | None = None
        self._output = Output(log)

    @property
    def pid(self) -> int:
        """The process's id; raises AssertionError when it was never started."""
        assert self._running is not None, f"the {self.name} was never started"
        return self._running.pid

    @property
    def exit_code(self) -> int | None:
        """How the process ended, None while it runs or before it was started."""
        return None if self._running is None else self._running.poll()

    @property
    def is_running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self._running is not None and self._running.poll() is None

    def add_arguments(self, *arguments: str) -> None:
        """Add to the command of the starts that follow."""
        self._command += arguments

    def run_code_of(self, folder: Path) -> None:
        """Have the starts that follow run the code in another folder: that of another release."""
        self._folder = folder
        # before what is installed here
        self._environment["PYTHONPATH"] = str(folder)

    def part_errors(self) -> None:
        """Have the starts that follow write standard error to a file of its own, see `error_lines`."""
        self._errors = self.log.with_suffix(".err.log")

    def error_lines(self) -> list[str]:
        """Every line on standard error since `part_errors`."""
        assert self._errors is not None
        return self._errors.read_text(encoding="utf-8").splitlines() if self._errors.exists() else []

    def start(self) -> None:
        """Start the process; it must not run."""
        assert not self.is_running, f"the {self.name} runs already"
        self._may_end = False
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as files:
            output = files.enter_context(self.log.open("ab"))
            errors = subprocess.STDOUT if self._errors is None else files.enter_context(self._errors.open("ab"))
            self._running = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )

    def wait_hearing(self) -> None:
        """Wait until the process handles SIGTERM, or has ended: to one that has only begun it is no orderly end."""
        wait_until(f"the {self.name} hears SIGTERM", self._hears, HEARING_SECONDS)

    def _hears(self) -> bool:
        try:
            status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        except OSError:
            # only Linux tells
            return True
        (caught,) = re.findall(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
        return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1) or not self.is_running

    def ask_to_end(self) -> None:
        """Send SIGTERM."""
        self._may_end = True
        os.kill(self.pid, signal.SIGTERM)

    def wait(self, limit: float = GRACE_SECONDS) -> int:
        """Wait until the process has ended and return its exit code; AssertionError with its log after `limit`."""
        assert self._running is not None
        try:
            return self._running.wait(limit)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the {self.name} did not end within {limit:.0f} s\n{self.told()}") from None

    def end(self) -> None:
        """Send SIGTERM, and insist that the process ends in time with exit code 0."""
        if not self.is_running:
            return
        self.wait_hearing()
        self.ask_to_end()
        code = self.wait()
        assert code == 0, f"the {self.name} ended with {code} on SIGTERM\n{self.told()}"

    def kill(self) -> None:
        """Send SIGKILL to the process and all that it started, as when a container is killed, and wait for its end.

        Nothing happens when it has ended.
        """
        self._may_end = True
        if self._running is not None:
            family = self._family()
            self._running.kill()
            self._running.wait(10)
            for member in family:
                # one that ended meanwhile is no matter
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()

    def freeze(self) -> None:
        """Stop the process where it stands (SIGSTOP): it keeps its connections and answers nobody."""
        freeze(self.pid)

    def thaw(self) -> None:
        """Let a frozen process go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def _family(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.pid).children(recursive=True) if self.is_running else []
        except psutil.NoSuchProcess:
            return []

    def check_alive(self) -> None:
        """Raise AssertionError, with the log, when a started process has ended by itself."""
        if self._running is not None and not self._may_end and not self.is_running:
            raise AssertionError(f"the {self.name} ended with {self.exit_code}\n{self.told()}")

    def resident_megabytes(self) -> float:
        """Memory that the process and its children hold now, in MiB."""
        own = psutil.Process(self.pid)
        return float(sum(it.memory_info().rss for it in (own, *own.children(recursive=True)))) / 2**20

    def output(self) -> str:
        """Everything that the process has written, colours taken out."""
        return self._output.read()

    def told(self) -> str:
        """The end of the output under a heading, for a failing test."""
        return f"--- the end of {self.log} ---\n{self.output()[-_SHOWN_CHARACTERS:]}"
