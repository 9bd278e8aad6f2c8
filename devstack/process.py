"""One detached process that outlives the command that started it, known again by its pid and start time."""

import json
import os
import signal
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import psutil

# Start times are read in clock ticks against the boot time, which moves when the clock is set.
_START_TIME_TOLERANCE_SECONDS = 2.0
_KILL_LIMIT_SECONDS = 10.0
_LAST_THREAD_SECONDS = 2.0
_FREEZE_LIMIT_SECONDS = 10.0
_STANDING = frozenset({psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD})
# They would change the servers' options behind our back.
_UNWANTED_ENVIRONMENT = frozenset({"CLASSPATH", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"})


def freeze(pid: int) -> None:
    """Stop the process `pid` where it stands (SIGSTOP) and return when each of its threads has stopped, or ended.

    A thread stops when it next gets a processor: on busy ones (17 ms at the median with eight that want two) others
    answer requests meanwhile. Raises TimeoutError after 10 s, psutil.NoSuchProcess when there is no such process.
    """
    process = psutil.Process(pid)
    process.send_signal(signal.SIGSTOP)
    deadline = time.monotonic() + _FREEZE_LIMIT_SECONDS
    while not _is_frozen(process):
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} did not stop within {_FREEZE_LIMIT_SECONDS:.0f} s of SIGSTOP")
        time.sleep(0.001)


def _is_frozen(process: psutil.Process) -> bool:
    return all(_state(thread.id) in _STANDING for thread in process.threads())


def _state(thread_id: int) -> str:
    try:
        # A thread's id serves as a process id where its state is asked for.
        return psutil.Process(thread_id).status()
    except psutil.NoSuchProcess:
        return psutil.STATUS_DEAD


class DetachedProcess:
    """A process whose pid is recorded in `folder`; its output goes to `folder`/server.log."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._record = folder / "process.json"
        self.log = folder / "server.log"
        self._last_pid: int | None = None
        self._exit: str = ""

    @property
    def pid(self) -> int | None:
        """The pid while the recorded process lives, else None. A pid that now belongs to another is not ours."""
        process = self._process()
        return process.pid if process else None

    def spawn(self, command: Sequence[str]) -> None:
        """Start `command` in a session of its own, so that neither Ctrl-C nor the end of this process reaches it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))
        environment = {name: value for name, value in os.environ.items() if name not in _UNWANTED_ENVIRONMENT}
        output = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        try:
            # Not subprocess.Popen: its destructor warns of a child that is still running, which is the aim here.
            pid = os.posix_spawn(
                command[0],
                list(command),
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, output, 1),
                    (os.POSIX_SPAWN_DUP2, output, 2),
                ],
                setsid=True,
            )
        finally:
            os.close(output)
        self._last_pid, self._exit = pid, ""
        partial = self._record.with_suffix(".partial")
        partial.write_text(json.dumps({"pid": pid, "started": psutil.Process(pid).create_time()}))
        partial.replace(self._record)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process; nothing happens when it is gone."""
        process = self._process()
        if process:
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                return

    def freeze(self) -> None:
        """Stop the process where it stands, all of it, until SIGCONT; nothing happens when it is gone."""
        process = self._process()
        if process:
            freeze(process.pid)

    def end(self, limit: float) -> None:
        """End the process and wait until it is gone: SIGTERM, and SIGKILL after `limit` seconds."""
        process = self._process()
        if process:
            # A stopped process acts on SIGTERM only once it is resumed.
            for number in (signal.SIGTERM, signal.SIGCONT):
                self.send(number)
            if not self._wait_gone(process, limit):
                self.send(signal.SIGKILL)
                self._wait_gone(process, _KILL_LIMIT_SECONDS)
        self._record.unlink(missing_ok=True)

    def kill(self) -> None:
        """Send SIGKILL and wait until the process is gone; its record stays, as after a crash."""
        process = self._process()
        if process:
            self.send(signal.SIGKILL)
            self._wait_gone(process, _KILL_LIMIT_SECONDS)

    def how_it_ended(self) -> str:
        """Say how the process that just ended did so ("exit code 1", "signal SIGKILL"), or "" when that isn't known."""
        # A process whose first thread is gone shows as a zombie, but tells how it ended only when its last one is.
        deadline = time.monotonic() + _LAST_THREAD_SECONDS
        self._reap()
        while self._last_pid is not None and time.monotonic() < deadline:
            time.sleep(0.01)
            self._reap()
        return self._exit

    def log_tail(self, lines: int = 15) -> str:
        """Return the last `lines` lines of the log, "" when there are none."""
        if not self.log.exists():
            return ""
        with self.log.open(encoding="utf-8", errors="replace") as file:
            return "".join(deque(file, maxlen=lines)).rstrip()

    def _process(self) -> psutil.Process | None:
        self._reap()
        try:
            record = json.loads(self._record.read_text())
            process = psutil.Process(record["pid"])
            drift = abs(process.create_time() - record["started"])
            if drift > _START_TIME_TOLERANCE_SECONDS or process.status() == psutil.STATUS_ZOMBIE:
                return None
        except (FileNotFoundError, psutil.NoSuchProcess):
            return None
        return process

    def _wait_gone(self, process: psutil.Process, limit: float) -> bool:
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            self._reap()
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                return True
            time.sleep(0.05)
        return False

    def _reap(self) -> None:
        """Collect the exit status when the process was started by this very process; else nobody's zombie stays."""
        if self._last_pid is None:
            return
        try:
            pid, status = os.waitpid(self._last_pid, os.WNOHANG)
        except ChildProcessError:
            self._last_pid = None
            return
        if pid:
            self._last_pid = None
            code = os.waitstatus_to_exitcode(status)
            self._exit = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
