"""Stands between a client and the real Kafka, and answers some questions as a Kafka in trouble does."""

import socket
import struct
import threading
from typing import Self

from devstack.ports import HOST

_METADATA = 3
#: The versions of Metadata whose answer begins as `_without_brokers` expects.
_METADATA_VERSIONS = range(9, 14)
_OFFSET_FETCH = 9
#: The versions of OffsetFetch whose answer names its groups, which is what `_refused` rewrites.
_OFFSET_FETCH_VERSIONS = (8, 9)
_NOT_COORDINATOR = 16
_ACCEPT_SECONDS = 0.2


class KafkaProxy:
    """Passes everything on between its clients and a Kafka of one broker; use it as a context manager.

    Args:
        kafka_port: where the real Kafka listens on 127.0.0.1.
        refusals: how many questions for a group's commits are answered with "not coordinator", from the first on.

    While `hides_brokers` is set, the cluster seems to have no brokers, as while they are fenced; while `is_cut` is set,
    every connection is closed, those that are open by `cut`. `hidden` counts how often no brokers were told, `refused`
    the refusals.

    """

    def __init__(self, kafka_port: int, refusals: int = 0) -> None:
        self._kafka_port = kafka_port
        self._refusals = refusals
        self.refused = 0
        self.hides_brokers = False
        self.hidden = 0
        self.is_cut = False
        self._listener = socket.create_server((HOST, 0))
        self._listener.settimeout(_ACCEPT_SECONDS)
        self._closed = threading.Event()
        self._sockets: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, name="kafka-proxy", daemon=True)

    @property
    def bootstrap(self) -> str:
        """Where clients find it: host:port."""
        return f"{HOST}:{self._port}"

    @property
    def _port(self) -> int:
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()
        self._listener.close()
        for each in self._sockets:
            each.close()

    def cut(self) -> None:
        """Close every connection, and those to come at once, until `is_cut` is taken back."""
        self.is_cut = True
        for each in self._sockets:
            _hang_up(each)

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            if self.is_cut:
                client.close()
                continue
            client.settimeout(None)
            kafka = socket.create_connection((HOST, self._kafka_port))
            self._sockets += [client, kafka]
            asked: dict[int, tuple[int, int]] = {}
            for pump in (self._pass_questions, self._pass_answers):
                threading.Thread(target=pump, args=(client, kafka, asked), daemon=True).start()

    def _pass_questions(self, client: socket.socket, kafka: socket.socket, asked: dict[int, tuple[int, int]]) -> None:
        while (frame := _frame(client)) is not None:
            key, version, correlation = struct.unpack_from(">hhi", frame)
            asked[correlation] = (key, version)
            if not _send(kafka, frame):
                return
        _hang_up(kafka)

    def _pass_answers(self, client: socket.socket, kafka: socket.socket, asked: dict[int, tuple[int, int]]) -> None:
        # every later connection must come through here too, so the broker's address is rewritten wherever it is told
        real, ours = (HOST.encode() + struct.pack(">i", port) for port in (self._kafka_port, self._port))
        while (frame := _frame(kafka)) is not None:
            (correlation,) = struct.unpack_from(">i", frame)
            answer = frame.replace(real, ours)
            key, version = asked.pop(correlation)
            if key == _OFFSET_FETCH and self._refusals > 0:
                self._refusals -= 1
                self.refused += 1
                answer = _refused(answer, version)
            if key == _METADATA and self.hides_brokers:
                self.hidden += 1
                answer = _without_brokers(answer, version)
            if not _send(client, answer):
                return
        _hang_up(client)


def _refused(answer: bytes, version: int) -> bytes:
    """Turn a group's commits into the error that a broker gives which is not the group's coordinator (any more).

    Correlation id, tags, throttle time and the number of groups take 10 bytes; then the first group's name in the
    protocol's compact form. Its topics become an empty list, its error code the refusal.
    """
    assert version in _OFFSET_FETCH_VERSIONS, f"OffsetFetch version {version} is not known here"
    name_ends = 10 + answer[10]
    return answer[:name_ends] + b"\x01" + struct.pack(">h", _NOT_COORDINATOR) + b"\x00\x00"


def _without_brokers(answer: bytes, version: int) -> bytes:
    """Take the brokers out of an answer about the cluster.

    Correlation id, tags and throttle time take 9 bytes; then the number of brokers (plus one), and of each its id, host
    (its length plus one, then the name), port, rack (the same, or 0 for none) and tags.
    """
    assert version in _METADATA_VERSIONS, f"Metadata version {version} is not known here"
    at = 10
    for _ in range(answer[9] - 1):
        at += 4
        at += answer[at] + 4
        at += max(answer[at], 1) + 1
    return answer[:9] + b"\x01" + answer[at:]


def _frame(source: socket.socket) -> bytes | None:
    size = _exactly(source, 4)
    return None if size is None else _exactly(source, struct.unpack(">i", size)[0])


def _exactly(source: socket.socket, count: int) -> bytes | None:
    """Read so many bytes; None where the other side has gone."""
    read = b""
    while len(read) < count:
        try:
            more = source.recv(count - len(read))
        except OSError:
            return None
        if not more:
            return None
        read += more
    return read


def _send(target: socket.socket, frame: bytes) -> bool:
    try:
        target.sendall(struct.pack(">i", len(frame)) + frame)
    except OSError:
        return False
    return True


def _hang_up(target: socket.socket) -> None:
    try:
        target.shutdown(socket.SHUT_RDWR)
    except OSError:
        # it has gone already
        return
