"""Stands between the product and the ledger's real Redis, and holds or drops the scripts that a test names."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from devstack.ports import HOST
from ledger.scripts import load_script
from tests.support.relay import Link, Relay, Treatment

_READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Command:
    """One command with its arguments."""

    parts: tuple[bytes, ...]


def ledger_step(name: str) -> Callable[[Command], bool]:
    """Match calls of one of the ledger's scripts by its name: "owe", "settle", …"""
    digest = hashlib.sha1(load_script(name).encode()).hexdigest().encode()  # noqa: S324 - Redis names scripts so
    return lambda command: command.parts[0].upper() == b"EVALSHA" and command.parts[1] == digest


def any_script(command: Command) -> bool:
    """Match a call of whatever script, as every step in the ledger is one."""
    return command.parts[0].upper() == b"EVALSHA"


class RedisProxy(Relay[Command]):
    """Passes everything on between its clients and a Redis; use it as a context manager. Faults are for requests."""

    @property
    def url(self) -> str:
        """Where clients find its database 0."""
        return f"redis://{HOST}:{self.port}/0"

    def pass_requests(self, link: Link) -> None:
        """Pass on the client's commands, but for those that meet a fault."""
        with link.client.makefile("rb") as source:
            while (parts := _command(source)) is not None:
                self._pass_command(link, Command(parts))

    def _pass_command(self, link: Link, command: Command) -> None:
        def give() -> None:
            link.to_server(_encoded(command.parts))

        fault = self.fault_for(command)
        if fault is None:
            give()
            return
        match fault.treatment:
            case Treatment.HOLD_REQUEST:
                fault.note(command, give)
            case Treatment.DROP_REQUEST:
                fault.note(command)
            case _:
                raise NotImplementedError("answers are not told apart here")

    def pass_answers(self, link: Link) -> None:
        """Pass on what the server says."""
        while True:
            try:
                data = link.server.recv(_READ_BYTES)
            except OSError:
                return
            if not data:
                return
            link.to_client(data)


def _command(source: BinaryIO) -> tuple[bytes, ...] | None:
    """Read an array of strings, the only form in which clients send commands; None where the client has gone."""
    try:
        head = source.readline()
        if not head:
            return None
        assert head.startswith(b"*"), head
        parts = []
        for _ in range(int(head[1:])):
            size = int(source.readline()[1:])
            parts.append(source.read(size + 2)[:-2])
    except (OSError, ValueError):
        return None
    return tuple(parts)


def _encoded(parts: tuple[bytes, ...]) -> bytes:
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
