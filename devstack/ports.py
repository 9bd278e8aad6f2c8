"""Where the servers listen: the three public ports, and the internal ones that servers keep for themselves."""

import os
import random
import socket
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import psutil

from devstack.errors import DevstackError

HOST = "127.0.0.1"

# Below the range from which operating systems take ports for outgoing connections (Linux: 32768 and up), so that a
# port that was found free, or remembered, is not given to somebody's connection before a server listens on it. And
# clear of the public ports by default, of the stacks' and of the tests': a server that is down must find its own again.
_SERVERS_RANGE = (20_000, 26_000)
#: Has a process, and those that it starts, take their free ports from a part of that range: "20000-21999". What was
#: found free is taken only when its server starts, so processes that look at the same time need parts of their own.
FREE_PORTS = "DEVSTACK_FREE_PORTS"
_TRIES = 200
# What was found lately: whoever it was found for may not listen there yet.
_found_lately: deque[int] = deque(maxlen=500)


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports that clients connect to, all on 127.0.0.1."""

    kafka: int = 19092
    cassandra: int = 19042
    redis: int = 16379

    @property
    def bootstrap(self) -> str:
        """Kafka's address as clients take it: host:port."""
        return f"{HOST}:{self.kafka}"

    def redis_url(self, database: int = 0) -> str:
        """Return Redis's address as a URL that selects `database` (0 to 15)."""
        return f"redis://{HOST}:{self.redis}/{database}"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Ports":
        """Return the default ports, moved by DEVSTACK_KAFKA_PORT, DEVSTACK_CASSANDRA_PORT and DEVSTACK_REDIS_PORT.

        Raises DevstackError for a value that is no port number.
        """
        chosen = asdict(cls())
        for server, usual in chosen.items():
            chosen[server] = port_of(server, environment) or usual
        return cls(**chosen)


def port_of(server: str, environment: Mapping[str, str]) -> int | None:
    """Return the port that DEVSTACK_…_PORT gives this server, None where it is not set.

    Raises DevstackError for a value that is no port number.
    """
    name = f"DEVSTACK_{server.upper()}_PORT"
    text = environment.get(name, "").strip()
    if not text:
        return None
    if not text.isdecimal() or not 0 < int(text) <= 65535:  # noqa: PLR2004 - the highest TCP port
        raise DevstackError(server, f"{name} is {text!r}, not a port number", f"Set {name} to 1 to 65535.")
    return int(text)


def is_free(port: int) -> bool:
    """Tell whether a server could listen on 127.0.0.1:`port` now."""
    with socket.socket() as candidate:
        # As the servers themselves do it: connections of a dead server that linger must not count. It does not
        # listen: a process that another thread starts meanwhile has this socket until its program is loaded, and
        # beside one that is only bound the server itself may listen.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port(reserved: Collection[int] = ()) -> int:
    """Find a port that a server could listen on now and that is none of `reserved`; raises DevstackError.

    DEVSTACK_FREE_PORTS says between which. One that this process found lately is left out, if others are left.
    """
    first, last = _free_ports_range()
    drawn = (random.randint(first, last) for _ in range(_TRIES))  # noqa: S311 - spreads those that look at the same moment
    others = (port for port in drawn if port not in _found_lately)
    found_before = [port for port in _found_lately if first <= port <= last]
    for port in chain(others, found_before):
        if port not in reserved and is_free(port):
            _found_lately.append(port)
            return port
    raise DevstackError("stack", "no free port was found", "End some of the servers on this machine.")


def different_ports(count: int) -> list[int]:
    """Find so many ports that are free now, no two of them the same; raises DevstackError."""
    found: list[int] = []
    for _ in range(count):
        found.append(free_port(found))
    return found


def free_ports() -> Ports:
    """Find ports for a stack's three servers that are free now; raises DevstackError."""
    return Ports(*different_ports(3))


def part_of_range(number: int, count: int) -> str:
    """Give what DEVSTACK_FREE_PORTS takes for the `number`th, from 0, of `count` processes that look for ports."""
    first, last = _SERVERS_RANGE
    size = (last - first) // count
    return f"{first + number * size}-{first + (number + 1) * size - 1}"


def _free_ports_range() -> tuple[int, int]:
    text = os.environ.get(FREE_PORTS, "")
    if not text:
        return _SERVERS_RANGE
    first, _, last = text.partition("-")
    if not (first.isdecimal() and last.isdecimal() and 0 < int(first) <= int(last) <= 65535):  # noqa: PLR2004 - as above
        raise DevstackError("stack", f"{FREE_PORTS} is {text!r}", f"Set {FREE_PORTS} to two ports: 20000-21999.")
    return int(first), int(last)


def is_answering(port: int, limit: float = 0.5) -> bool:
    """Tell whether something accepts connections on 127.0.0.1:`port` within `limit` seconds."""
    try:
        socket.create_connection((HOST, port), timeout=limit).close()
    except OSError:
        return False
    return True


def holder_of(port: int) -> str:
    """Name the process that listens on `port`, or say that it can't be seen (another user's, on some systems)."""
    try:
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == port
                and connection.pid
            ):
                return f"{psutil.Process(connection.pid).name()}, process {connection.pid}"
    except psutil.Error:
        pass
    return "a process that can't be seen from here"


def internal_port(file: Path, public: Ports) -> int:
    """Return a server's internal port: the one remembered in `file`, or a new one when that is missing or taken.

    Call it only while the server is down: its own use of the port would count as taken.
    """
    # a process that was killed while it wrote may have left an empty file
    text = file.read_text().strip() if file.exists() else ""
    remembered = int(text) if text.isdecimal() else 0
    if remembered and is_free(remembered):
        return remembered
    port = free_port(asdict(public).values())
    file.write_text(str(port))
    return port
