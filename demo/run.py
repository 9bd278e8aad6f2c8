"""What belongs to one run of the demonstration: its names, where its servers are, and what it has started."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from demo.errors import DemoError
from devstack.ports import HOST, Ports
from devstack.topics import topic_names
from reconciliation.settings import Settings, catalogue, load_settings
from reconciliation.settings_sources import environment_variable


@dataclass(frozen=True, slots=True)
class Run:
    """One run's names and places.

    Every run has an environment (ENV) and a keyspace of its own. So it begins with empty topics, tables, queues and
    ledger even where an earlier run was killed, and touches nothing that others keep on the same servers.
    """

    suffix: str
    ports: Ports

    @classmethod
    def new(cls, ports: Ports) -> "Run":
        """Give a run with a name that no other has."""
        return cls(secrets.token_hex(2), ports)

    @property
    def environment(self) -> str:
        """The value of ENV, which topics, consumer group and queues carry."""
        return f"demo-{self.suffix}"

    @property
    def keyspace(self) -> str:
        """The keyspace with this run's tables."""
        return f"sunbird_demo_{self.suffix}"

    @property
    def group_id(self) -> str:
        """The consumer group, as the product's default names it."""
        return f"{self.environment}-enrolment-reconciliation-group"

    @property
    def topics(self) -> tuple[str, ...]:
        """The four topics."""
        return topic_names(self.environment)

    def variables(self, search_port: int) -> dict[str, str]:
        """Give what the product's processes find in their environment: nobody else's settings, and this run's."""
        theirs = {"CONFIG_FILE"} | {
            environment_variable(name) for it in catalogue().values() for name in it.about.names
        }
        ours = {
            "ENV": self.environment,
            "KAFKA_BROKER_SERVERS": self.ports.bootstrap,
            "LMS_CASSANDRA_HOST": HOST,
            "LMS_CASSANDRA_PORT": str(self.ports.cassandra),
            "LMS_CASSANDRA_KEYSPACE": self.keyspace,
            "REDIS_HOST": HOST,
            "REDIS_PORT": str(self.ports.redis),
            "CELERY_BROKER_URL": self.ports.redis_url(),
            "SERVICE_SEARCH_BASEPATH": f"http://{HOST}:{search_port}",
        }
        return {name: value for name, value in os.environ.items() if name not in theirs} | ours

    def settings(self, search_port: int) -> Settings:
        """Give these settings as the product reads them."""
        return load_settings(self.variables(search_port))


@dataclass(frozen=True, slots=True)
class Started:
    """A process that a run started; the start time (seconds since 1970) tells it from a later one with its pid."""

    name: str
    pid: int
    started: float
    port: int | None = None


@dataclass(slots=True)
class Notes:
    """What a run must put away: kept on disk, so that `stop` and the next run can do it when this one could not."""

    folder: Path
    run: Run
    servers: list[str] = field(default_factory=list)
    processes: list[Started] = field(default_factory=list)

    def save(self) -> None:
        """Write everything down."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content: Mapping[str, object] = {
            "suffix": self.run.suffix,
            "ports": asdict(self.run.ports),
            "servers": self.servers,
            "processes": [asdict(process) for process in self.processes],
        }
        partial = _file(self.folder).with_suffix(".partial")
        partial.write_text(json.dumps(content, indent=2))
        partial.replace(_file(self.folder))

    def forget(self) -> None:
        """Remove what was written down."""
        _file(self.folder).unlink(missing_ok=True)


def load_notes(folder: Path) -> Notes | None:
    """Give what an earlier run left to be put away, None when there is nothing (or it can't be read)."""
    try:
        content = json.loads(_file(folder).read_text())
        return Notes(
            folder,
            Run(str(content["suffix"]), Ports(**content["ports"])),
            [str(name) for name in content["servers"]],
            [Started(**process) for process in content["processes"]],
        )
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return None


@contextmanager
def taking_turns(folder: Path) -> Iterator[None]:
    """Let one command at a time work on a folder; the lock goes with the process, however it ends.

    Raises DemoError while another one is at work there, and where the folder can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DemoError(str(error), "Choose a folder that can be written: DEVSTACK_DIR=…") from error
    with (folder / "turn").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(
                f"Another demonstration is at work on {folder}.", "Wait until it ends, or end it with Ctrl-C."
            ) from None
        yield


def _file(folder: Path) -> Path:
    return folder / "run.json"
