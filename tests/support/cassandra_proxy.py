"""Stands between the product and the real Cassandra, and troubles the writes that a test names.

It reads the native protocol's version 4, which the product speaks: a frame is a header of nine bytes (version, flags,
stream, opcode, length of the body) and a body. The product sends its writes as BATCH messages of prepared statements,
first the aggregates, last the enrolment, and the proxy knows each statement's CQL from the PREPARE it saw.
"""

import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

from devstack.ports import HOST
from tests.support.relay import Link, Relay, Treatment, exactly, keep_answer

_VERSION = 4
_ANSWER = 0x80
_IS_COMPRESSED = 0x01
_ERROR, _QUERY, _RESULT, _PREPARE, _EXECUTE, _BATCH = 0x00, 0x07, 0x08, 0x09, 0x0A, 0x0D
_PREPARED = 0x0004
_LOCAL_QUORUM = 0x0006

#: Error codes that a Cassandra in trouble gives to writes.
OVERLOADED = 0x1001
WRITE_TIMEOUT = 0x1100


@dataclass(frozen=True, slots=True)
class Request:
    """One QUERY, EXECUTE or BATCH: the CQL of its statements, and its body, which holds their values."""

    statements: tuple[str, ...]
    body: bytes

    @property
    def is_write(self) -> bool:
        """Whether it changes rows."""
        return any(not statement.lstrip().upper().startswith("SELECT") for statement in self.statements)

    def names(self, text: str) -> bool:
        """Say whether a value is, or holds, this text: a learner's id for example."""
        return text.encode() in self.body


Matches = Callable[[Request], bool]


def any_write(request: Request) -> bool:
    """Match every write."""
    return request.is_write


def aggregate_write(request: Request) -> bool:
    """Match writes of aggregates."""
    return request.is_write and any("user_activity_agg" in statement for statement in request.statements)


def enrolment_write(request: Request) -> bool:
    """Match writes of enrolments, completed or not."""
    return request.is_write and any("user_enrolments" in statement for statement in request.statements)


def completion_write(request: Request) -> bool:
    """Match writes of completions: those that set completedon."""
    return request.is_write and any("completedon = ?" in statement for statement in request.statements)


def enrolment_read(request: Request) -> bool:
    """Match reads of one enrolment's row: the look of an attempt, and the reading back of a completion."""
    return any(
        statement.startswith("SELECT") and "user_enrolments" in statement and "batchid = ?" in statement
        for statement in request.statements
    )


class CassandraProxy(Relay[Request]):
    """Passes everything on between its clients and a Cassandra of one node; use it as a context manager.

    Give clients 127.0.0.1 and `port`. `passed` holds every write that Cassandra was given, `answered` those that it
    answered, each in their order. `error` is the code of the answer that `Treatment.REFUSE` gives.
    """

    def __init__(self, cassandra_port: int, error: int = WRITE_TIMEOUT, address: tuple[str, int] = (HOST, 0)) -> None:
        super().__init__(cassandra_port, address)
        self.error = error
        self.passed: list[Request] = []
        self.answered: list[Request] = []
        # the ids are made of keyspace and text, so they are the same on every connection
        self._texts: dict[bytes, str] = {}
        self._preparing: dict[tuple[int, bytes], str] = {}
        self._awaited: dict[tuple[int, bytes], tuple[Request, Callable[[bytes], object]]] = {}

    @property
    def settings(self) -> dict[str, str]:
        """What points a process of the product here."""
        return {"LMS_CASSANDRA_HOST": HOST, "LMS_CASSANDRA_PORT": str(self.port)}

    def pass_requests(self, link: Link) -> None:
        """Pass on the client's frames, but for those that meet a fault."""
        while (frame := _frame(link.client)) is not None:
            self._pass_request(link, frame)

    def _pass_request(self, link: Link, frame: bytes) -> None:
        opcode, place, body = frame[4], (id(link), frame[2:4]), frame[9:]
        if opcode == _PREPARE:
            self._preparing[place] = _long_string(body, 0)[0]
        request = self._request(opcode, body)
        if request is None:
            link.to_server(frame)
        else:
            self._pass_rows(link, place, request, frame)

    def _pass_rows(self, link: Link, place: tuple[int, bytes], request: Request, frame: bytes) -> None:
        """Pass on what reads or writes rows, unless it meets a fault."""

        def give() -> None:
            if request.is_write:
                self.passed.append(request)
            link.to_server(frame)

        def answer_with(answer: bytes) -> None:
            link.to_client(answer)

        self._awaited[place] = request, answer_with
        fault = self.fault_for(request)
        if fault is None:
            give()
            return
        match fault.treatment:
            case Treatment.HOLD_REQUEST:
                fault.note(request, give)
            case Treatment.DROP_REQUEST:
                fault.note(request)
            case Treatment.HOLD_ANSWER | Treatment.DROP_ANSWER:
                self._awaited[place] = request, lambda it: keep_answer(fault, request, lambda: answer_with(it))
                give()
            case Treatment.REFUSE:
                # the server has no answer to give
                del self._awaited[place]
                answer_with(_error_frame(place[1], self.error))
                fault.note(request)

    def pass_answers(self, link: Link) -> None:
        """Pass on the server's frames, but for the answers that a fault keeps."""
        while (frame := _frame(link.server)) is not None:
            opcode, stream, body = frame[4], frame[2:4], frame[9:]
            text = self._preparing.pop((id(link), stream), None)
            if text is not None and opcode == _RESULT and struct.unpack_from(">i", body)[0] == _PREPARED:
                self._texts[_short_bytes(body, 4)[0]] = text
            request, pass_on = self._awaited.pop((id(link), stream), (None, link.to_client))
            if request is not None and request.is_write:
                self.answered.append(request)
            pass_on(frame)

    def _request(self, opcode: int, body: bytes) -> Request | None:
        if opcode == _QUERY:
            return Request((_long_string(body, 0)[0],), body)
        if opcode == _EXECUTE:
            return Request((self._text(_short_bytes(body, 0)[0]),), body)
        if opcode == _BATCH:
            return Request(tuple(self._batched(body)), body)
        return None

    def _batched(self, body: bytes) -> list[str]:
        """Give the statements of a batch: type, number, and of each its kind, its text or id, and its values."""
        statements = []
        (count,) = struct.unpack_from(">H", body, 1)
        at = 3
        for _ in range(count):
            is_prepared = body[at] == 1
            if is_prepared:
                identity, at = _short_bytes(body, at + 1)
                statements.append(self._text(identity))
            else:
                text, at = _long_string(body, at + 1)
                statements.append(text)
            (values,) = struct.unpack_from(">H", body, at)
            at += 2
            for _ in range(values):
                (size,) = struct.unpack_from(">i", body, at)
                # below zero: null, or not set
                at += 4 + max(size, 0)
        return statements

    def _text(self, identity: bytes) -> str:
        return self._texts.get(identity, "a statement that was not prepared here")


def _frame(source: socket.socket) -> bytes | None:
    header = exactly(source, 9)
    if header is None:
        return None
    assert header[0] & ~_ANSWER == _VERSION, f"protocol version {header[0] & ~_ANSWER} is not known here"
    assert not header[1] & _IS_COMPRESSED, "compressed frames are not known here"
    body = exactly(source, struct.unpack_from(">i", header, 5)[0])
    return None if body is None else header + body


def _error_frame(stream: bytes, code: int) -> bytes:
    text = b"made by the test's proxy"
    body = struct.pack(">iH", code, len(text)) + text
    if code == WRITE_TIMEOUT:
        # consistency, replicas that answered, replicas that had to, kind of write
        kind = b"UNLOGGED_BATCH"
        body += struct.pack(">HiiH", _LOCAL_QUORUM, 0, 1, len(kind)) + kind
    return bytes([_VERSION | _ANSWER, 0]) + stream + bytes([_ERROR]) + struct.pack(">i", len(body)) + body


def _long_string(body: bytes, at: int) -> tuple[str, int]:
    (size,) = struct.unpack_from(">i", body, at)
    return body[at + 4 : at + 4 + size].decode(), at + 4 + size


def _short_bytes(body: bytes, at: int) -> tuple[bytes, int]:
    (size,) = struct.unpack_from(">H", body, at)
    return body[at + 2 : at + 2 + size], at + 2 + size
