"""Stands between a client and the real Kafka, and answers some questions as a Kafka in trouble does."""

import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

from devstack.ports import HOST
from tests.support.relay import Link, Relay, Treatment, exactly, keep_answer

_PRODUCE = 0
_METADATA = 3
#: The versions of Metadata whose answer begins as `_without_brokers` expects.
_METADATA_VERSIONS = range(9, 14)
_OFFSET_FETCH = 9
#: The versions of OffsetFetch whose answer names its groups, which is what `_refused` rewrites.
_OFFSET_FETCH_VERSIONS = (8, 9)
_NOT_COORDINATOR = 16


@dataclass(frozen=True, slots=True)
class Question:
    """One request to Kafka: its kind (the protocol's api key), the version of that, and all its bytes."""

    key: int
    version: int
    frame: bytes


def produce_to(topic: str) -> Callable[[Question], bool]:
    """Match what brings records to a topic; up to version 12, which the product's client stays below, it names it."""
    name = topic.encode()
    return lambda question: question.key == _PRODUCE and name in question.frame


class KafkaProxy(Relay[Question]):
    """Passes everything on between its clients and a Kafka of one broker; use it as a context manager.

    Args:
        kafka_port: where the real Kafka listens on 127.0.0.1.
        refusals: how many questions for a group's commits are answered with "not coordinator", from the first on.

    While `hides_brokers` is set, the cluster seems to have no brokers, as while they are fenced; while `is_cut` is set,
    every connection is closed, those that are open by `cut`. `hidden` counts how often no brokers were told, `refused`
    the refusals. Faults may hold and drop, not refuse.

    """

    def __init__(self, kafka_port: int, refusals: int = 0) -> None:
        super().__init__(kafka_port)
        self._refusals = refusals
        self.refused = 0
        self.hides_brokers = False
        self.hidden = 0
        self._asked: dict[tuple[int, int], tuple[Question, Callable[[bytes], object]]] = {}

    @property
    def bootstrap(self) -> str:
        """Where clients find it: host:port."""
        return f"{HOST}:{self.port}"

    def pass_requests(self, link: Link) -> None:
        """Pass on the client's questions, but for those that meet a fault."""
        while (frame := _frame(link.client)) is not None:
            key, version, correlation = struct.unpack_from(">hhi", frame)
            question = Question(key, version, frame)
            self._pass_question(link, question, (id(link), correlation))

    def _pass_question(self, link: Link, question: Question, place: tuple[int, int]) -> None:
        def give() -> None:
            _send(link.to_server, question.frame)

        def answer_to(answer: bytes) -> None:
            _send(link.to_client, answer)

        self._asked[place] = question, answer_to
        fault = self.fault_for(question)
        if fault is None:
            give()
            return
        match fault.treatment:
            case Treatment.HOLD_REQUEST:
                fault.note(question, give)
            case Treatment.DROP_REQUEST:
                fault.note(question)
            case Treatment.HOLD_ANSWER | Treatment.DROP_ANSWER:
                self._asked[place] = question, lambda answer: keep_answer(fault, question, lambda: answer_to(answer))
                give()
            case Treatment.REFUSE:
                raise NotImplementedError("no refusal is known here")

    def pass_answers(self, link: Link) -> None:
        """Pass on the broker's answers, some of them changed, but for those that a fault keeps."""
        # every later connection must come through here too, so the broker's address is rewritten wherever it is told
        real, ours = (HOST.encode() + struct.pack(">i", port) for port in (self._server_port, self.port))
        while (frame := _frame(link.server)) is not None:
            (correlation,) = struct.unpack_from(">i", frame)
            question, pass_on = self._asked.pop((id(link), correlation))
            pass_on(self._changed(question, frame.replace(real, ours)))

    def _changed(self, question: Question, answer: bytes) -> bytes:
        if question.key == _OFFSET_FETCH and self._refusals > 0:
            self._refusals -= 1
            self.refused += 1
            return _refused(answer, question.version)
        if question.key == _METADATA and self.hides_brokers:
            self.hidden += 1
            return _without_brokers(answer, question.version)
        return answer


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
    size = exactly(source, 4)
    return None if size is None else exactly(source, struct.unpack(">i", size)[0])


def _send(give: Callable[[bytes], bool], frame: bytes) -> bool:
    return give(struct.pack(">i", len(frame)) + frame)
