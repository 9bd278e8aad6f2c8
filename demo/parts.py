"""The parts of the product that a run starts: their command lines, and how each says that it is ready."""

import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from demo.errors import DemoError
from demo.processes import is_alive, listens, start
from demo.run import Notes, Started
from devstack.ports import HOST, free_port, is_free
from devstack.stack import project_folder

WORKERS = 2
FLOWER_PORT = 5555
_WORKER = (sys.executable, "-m", "worker")
_FLOWER = (sys.executable, "-m", "celery", "-A", "worker", "flower")
_READY_LIMIT_SECONDS = 60.0
_ASK_LIMIT_SECONDS = 2.0
_COUNT_LIMIT_SECONDS = 20.0
_PAUSE_SECONDS = 0.1


def start_parts(notes: Notes, search_port: int) -> None:
    """Start the search service, the bridge, the workers and Flower; `notes` names each from then on."""
    python = sys.executable
    variables = _variables(notes, search_port)
    _start(notes, "search", (python, "-m", "demo.search_server", str(search_port)), variables, search_port)
    port = free_port()
    _start(notes, "bridge", (python, "-m", "bridge"), variables | {"METRICS_BRIDGE_PORT": str(port)}, port)
    for number in range(1, WORKERS + 1):
        port = free_port()
        command = (python, "-m", "demo.supervisor", *_WORKER, "-n", f"demo-{number}@%h")
        _start(notes, f"worker-{number}", command, variables | {"METRICS_WORKER_PORT": str(port)}, port)
    _start_flower(notes, variables, FLOWER_PORT if is_free(FLOWER_PORT) else free_port())


def wait_ready(notes: Notes, search_port: int) -> None:
    """Return when every part has answered over HTTP that it is ready.

    The bridge and the workers say so themselves, Flower has a health check, the search service says anything. Raises
    DemoError when one ends or does not answer within a minute.
    """
    paths = {"search": "/", "flower": "/healthcheck"}
    deadline = time.monotonic() + _READY_LIMIT_SECONDS
    for name in [part.name for part in notes.processes]:
        while not _answers(part := _named(notes, name), paths.get(name, "/health/ready")):
            _restart_flower(notes, search_port)
            check_alive(notes)
            if time.monotonic() > deadline:
                raise DemoError(
                    f"{name} did not answer on {HOST}:{part.port} within {_READY_LIMIT_SECONDS:.0f} s.",
                    f"Read {log_of(notes.folder, name)}.",
                )
            time.sleep(_PAUSE_SECONDS)


def check_alive(notes: Notes) -> None:
    """Raise DemoError when a part has ended."""
    for part in notes.processes:
        if not is_alive(part):
            log = log_of(notes.folder, part.name)
            raise DemoError(f"{part.name} ended by itself: {_last_line(log)}", f"Read {log}.")


def metric(notes: Notes, kind: str, name: str) -> int:
    """Add up a counter over the parts whose name begins with `kind`; `name` is without prefix and suffix."""
    wanted = f"enrolment_reconciliation_{name}_total"
    total = 0.0
    for part in notes.processes:
        if not part.name.startswith(kind):
            continue
        with urllib.request.urlopen(f"http://{HOST}:{part.port}/metrics", timeout=_COUNT_LIMIT_SECONDS) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(wanted):
                    total += float(line.rpartition(" ")[2])
    return round(total)


def log_of(folder: Path, name: str) -> Path:
    """Name the file that a part's output goes to."""
    return folder / f"{name}.log"


def _start_flower(notes: Notes, variables: Mapping[str, str], port: int) -> None:
    _start(notes, "flower", (*_FLOWER, f"--port={port}", f"--address={HOST}"), variables, port)


def _restart_flower(notes: Notes, search_port: int) -> None:
    """Start Flower again, elsewhere, when it has ended because its usual port was taken meanwhile."""
    flower = _named(notes, "flower")
    if flower.port == FLOWER_PORT and not is_alive(flower):
        notes.processes.remove(flower)
        _start_flower(notes, _variables(notes, search_port), free_port())


def _variables(notes: Notes, search_port: int) -> dict[str, str]:
    return notes.run.variables(search_port) | {"NO_COLOR": "1"}


def _start(notes: Notes, name: str, command: tuple[str, ...], variables: Mapping[str, str], port: int) -> Started:
    started = start(name, command, variables, log_of(notes.folder, name), project_folder(), port)
    notes.processes.append(started)
    notes.save()
    return started


def _named(notes: Notes, name: str) -> Started:
    return next(part for part in notes.processes if part.name == name)


def _answers(part: Started, path: str) -> bool:
    # another's Flower may answer on the port that ours is about to find taken
    if not listens(part):
        return False
    try:
        with urllib.request.urlopen(f"http://{HOST}:{part.port}{path}", timeout=_ASK_LIMIT_SECONDS):
            return True
    except (OSError, urllib.error.URLError):
        return False


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it wrote nothing."
