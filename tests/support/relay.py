"""Stands between clients and a real server on TCP, and can hold, drop or refuse the requests that a test names."""

import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum, auto
from types import TracebackType
from typing import Generic, Self, TypeVar

from devstack.ports import HOST
from tests.support.waiting import USUAL_LIMIT, wait_until

R = TypeVar("R")

_ACCEPT_SECONDS = 0.2


class Treatment(Enum):
    """What a fault does to a request that it is meant for."""

    HOLD_REQUEST = auto()  # the server doesn't get it until the fault ends
    DROP_REQUEST = auto()  # the server never gets it
    HOLD_ANSWER = auto()  # the server has done it; the client learns so when the fault ends
    DROP_ANSWER = auto()  # the server has done it; the client never learns
    REFUSE = auto()  # the client gets an error in the server's name, the server gets nothing


class Fault(Generic[R]):
    """One trouble, from `Relay.fault` on until it is over; leaving its block as a context ends it.

    `seen` holds the requests it befell, in their order: an answer's request as soon as the server has answered, that is
    after it was done.
    """

    def __init__(self, treatment: Treatment, matches: Callable[[R], bool], most: int | None) -> None:
        self.treatment = treatment
        self.seen: list[R] = []
        self._matches = matches
        self._left = most
        self._is_over = False
        self._held: list[Callable[[], object]] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def wait(self, count: int = 1, limit: float = USUAL_LIMIT) -> None:
        """Wait until it has befallen so many requests."""
        wait_until(f"{count} requests that meet {self.treatment.name}", lambda: len(self.seen) >= count, limit)

    def end(self) -> None:
        """Stop, and let everything go on that is held."""
        with self._lock:
            self._is_over = True
            held, self._held = self._held, []
        for go_on in held:
            go_on()

    def forget(self) -> None:
        """Stop, and throw away everything that is held."""
        with self._lock:
            self._is_over = True
            self._held = []

    def takes(self, request: R) -> bool:
        """Say whether this request is to be treated; counts it against the most that there may be."""
        with self._lock:
            if self._is_over or self._left == 0 or not self._matches(request):
                return False
            if self._left is not None:
                self._left -= 1
            return True

    def note(self, request: R, go_on: Callable[[], object] | None = None) -> None:
        """Take down that the request, or its answer, is here; `go_on` passes on what is held."""
        with self._lock:
            self.seen.append(request)
            if go_on is not None and not self._is_over:
                self._held.append(go_on)
                return
        if go_on is not None:
            go_on()


def keep_answer(fault: Fault[R], request: R, go_on: Callable[[], object]) -> None:
    """Hold or drop the answer to a request; `go_on` passes it on."""
    fault.note(request, go_on if fault.treatment is Treatment.HOLD_ANSWER else None)


class Count(Generic[R]):
    """How many requests that match have come by; see `Relay.count`."""

    def __init__(self, matches: Callable[[R], bool]) -> None:
        self.count = 0
        self._matches = matches
        self._lock = threading.Lock()

    def note(self, request: R) -> None:
        """Count the request if it matches."""
        if self._matches(request):
            with self._lock:
                self.count += 1


class Link:
    """One client's connection and the one to the server that belongs to it.

    `is_abandoned` when the client has gone. What a fault holds of it can still reach the server, as a packet on its way
    does.
    """

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.is_abandoned = False
        self._writing = {client: threading.Lock(), server: threading.Lock()}

    def to_server(self, data: bytes) -> bool:
        """Send bytes to the server; gives False where it has gone."""
        return self._send(self.server, data)

    def to_client(self, data: bytes) -> bool:
        """Send bytes to the client; gives False where it has gone."""
        return self._send(self.client, data)

    def _send(self, target: socket.socket, data: bytes) -> bool:
        with self._writing[target]:
            try:
                target.sendall(data)
            except OSError:
                return False
        return True

    def hang_up(self) -> None:
        """Close both sides for good."""
        for side in (self.client, self.server):
            hang_up(side)


class Relay(ABC, Generic[R]):
    """Passes everything on between its clients and a server; use it as a context manager.

    Args:
        server_port: where the real server listens on 127.0.0.1.
        address: where to listen; the port 0 means one that is free.

    While `is_cut` is set, every connection is closed, those that are open by `cut`; `turned_away` counts those that
    come meanwhile, and while the server is away.

    """

    def __init__(self, server_port: int, address: tuple[str, int] = (HOST, 0)) -> None:
        self.is_cut = False
        self.turned_away = 0
        self._server_port = server_port
        self._faults: list[Fault[R]] = []
        self._counts: list[Count[R]] = []
        self._listener = socket.create_server(address)
        self._listener.settimeout(_ACCEPT_SECONDS)
        self._closed = threading.Event()
        self._links: list[Link] = []
        self._thread = threading.Thread(target=self._accept, name=type(self).__name__, daemon=True)

    @property
    def port(self) -> int:
        """Where clients find it on 127.0.0.1."""
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()
        self._listener.close()
        self.forget_faults()
        for link in self._links:
            link.hang_up()
            link.client.close()
            link.server.close()

    def cut(self) -> None:
        """Close every connection, and those to come at once, until `is_cut` is taken back."""
        self.is_cut = True
        for link in self._links:
            link.hang_up()

    def fault(self, treatment: Treatment, matches: Callable[[R], bool], most: int | None = None) -> Fault[R]:
        """Begin a trouble for the requests that match, the first `most` of them if that is given."""
        made = Fault(treatment, matches, most)
        self._faults = [*self._faults, made]
        return made

    def count(self, matches: Callable[[R], bool]) -> "Count[R]":
        """Count the requests that match from now on, and pass them on."""
        made = Count(matches)
        self._counts = [*self._counts, made]
        return made

    def fault_for(self, request: R) -> Fault[R] | None:
        """Find the trouble that this request meets, of several the one that began first; called once for each."""
        for count in self._counts:
            count.note(request)
        return next((fault for fault in self._faults if fault.takes(request)), None)

    def forget_faults(self) -> None:
        """End every trouble, and throw away what is held."""
        for fault in self._faults:
            fault.forget()
        self._faults = []
        for link in self._links:
            if link.is_abandoned:
                link.hang_up()

    @abstractmethod
    def pass_requests(self, link: Link) -> None:
        """Pass on what the client sends, until it goes."""

    @abstractmethod
    def pass_answers(self, link: Link) -> None:
        """Pass on what the server sends, until it goes."""

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            client.settimeout(None)
            try:
                server = None if self.is_cut else socket.create_connection((HOST, self._server_port))
            except OSError:
                # the server is away, which the client notices just so
                server = None
            if server is None:
                self.turned_away += 1
                client.close()
                continue
            link = Link(client, server)
            self._links.append(link)
            if self.is_cut:
                # cut meanwhile, by one who did not see this link
                link.hang_up()
            threading.Thread(target=self._serve_client, args=(link,), daemon=True).start()
            threading.Thread(target=self._serve_server, args=(link,), daemon=True).start()

    def _serve_client(self, link: Link) -> None:
        self.pass_requests(link)
        link.is_abandoned = True
        if not self._may_come_late():
            hang_up(link.server)

    def _serve_server(self, link: Link) -> None:
        self.pass_answers(link)
        hang_up(link.client)

    def _may_come_late(self) -> bool:
        # what is held of a client that was killed needs a way to the server
        return any(fault.treatment is Treatment.HOLD_REQUEST for fault in self._faults)


def exactly(source: socket.socket, count: int) -> bytes | None:
    """Read so many bytes; None where the other side has gone."""
    read = bytearray()
    while len(read) < count:
        try:
            more = source.recv(count - len(read))
        except OSError:
            return None
        if not more:
            return None
        read += more
    return bytes(read)


def hang_up(target: socket.socket) -> None:
    """Close a connection so that whoever reads from it notices."""
    try:
        target.shutdown(socket.SHUT_RDWR)
    except OSError:
        # it has gone already
        return
