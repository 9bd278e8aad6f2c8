"""Which messages a worker takes: those that the bridge makes, and no others."""

import bz2
import json
import pickle
import uuid
import zlib
from collections.abc import Mapping
from typing import Any

import pytest
from kombu import compression, serialization
from kombu.exceptions import DecodeError
from kombu.message import Message
from structlog.testing import capture_logs

from worker.consumer import LARGEST_BODY, LONGEST_HEADER, TolerantConsumer, unpack_nothing, what_is_strange

ENTRY = str(uuid.UUID(int=1))
HEADERS: Mapping[str, Any] = {
    "lang": "py",
    "task": "tasks.reconcile",
    "id": ENTRY,
    "shadow": None,
    "eta": None,
    "expires": None,
    "group": None,
    "group_index": None,
    "retries": 0,
    "timelimit": [None, None],
    "root_id": ENTRY,
    "parent_id": None,
    "argsrepr": "1 request (do_1)",
    "kwargsrepr": "{}",
    "origin": "gen1@host",
    "ignore_result": True,
    "replaced_task_nesting": 0,
    "stamped_headers": None,
    "stamps": {},
}
KEYWORDS = {"version": 1, "tickets": [[ENTRY, 1]]}
EMBEDDED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
SIGNATURE = {"task": "tasks.reconcile", "args": [], "kwargs": KEYWORDS, "options": {}, "subtask_type": None}


def message(
    headers: object = HEADERS,
    body: object = ([], KEYWORDS, EMBEDDED),
    *,
    raw: bytes | None = None,
    content_type: object = "application/json",
    content_encoding: object = "utf-8",
    properties: Mapping[str, Any] | None = None,
) -> Message:
    return Message(
        body=json.dumps(body).encode() if raw is None else raw,
        content_type=content_type,
        content_encoding=content_encoding,
        headers=headers,
        properties=dict(properties or {"correlation_id": ENTRY, "reply_to": ENTRY, "priority": 0}),
        accept={"application/json"},
        delivery_tag="1",
    )


def with_header(**changed: object) -> Message:
    return message({**HEADERS, **changed})


def test_the_bridge_s_message_is_taken() -> None:
    assert what_is_strange(message()) is None
    assert what_is_strange(message(body=([], KEYWORDS, None))) is None
    assert what_is_strange(message(body=([], KEYWORDS, {}))) is None
    # what the arguments are is for the task to say: a newer release's are left to the sweep there
    assert what_is_strange(message(body=([], {"later": 1}, EMBEDDED))) is None


@pytest.mark.parametrize(
    "task",
    [
        "celery.accumulate",
        "celery.backend_cleanup",
        "celery.chain",
        "celery.chord",
        "celery.chord_unlock",
        "celery.chunks",
        "celery.group",
        "celery.map",
        "celery.starmap",
        "tasks.later",
        "",
        None,
        7,
        ["tasks.reconcile"],
    ],
)
def test_no_other_task_runs(task: object) -> None:
    assert what_is_strange(with_header(task=task)) == "it names another task, or none"


@pytest.mark.parametrize("headers", [None, {}, {"id": ENTRY}])
def test_a_message_of_the_old_protocol_is_none(headers: object) -> None:
    """Its body names the task, its arguments and its callbacks."""
    body = {"task": "tasks.reconcile", "id": ENTRY, "args": [], "kwargs": KEYWORDS, "callbacks": [SIGNATURE]}
    assert what_is_strange(message(headers, body)) == "it names another task, or none"


@pytest.mark.parametrize("identifier", [None, "", 7, [], {}, ["id"], {"id": 1}, True])
def test_an_id_is_a_text(identifier: object) -> None:
    assert what_is_strange(with_header(id=identifier)) == "it has no id"


@pytest.mark.parametrize(
    "changed",
    [
        {"eta": "2999-01-01T00:00:00+00:00"},
        {"eta": ""},
        {"eta": []},
        {"expires": "2000-01-01T00:00:00+00:00"},
        {"expires": 0},
        {"group": "a-group"},
        {"shadow": "<script>alert(1)</script>"},
        {"callbacks": "x"},
        {"chain": [SIGNATURE]},
        {"timelimit": [0.001, 0.001]},
        {"timelimit": [None, 1]},
        {"timelimit": {"soft": 1}},
        {"timelimit": 5},
        {"timelimit": [None]},
        {"timelimit": [None, None, None]},
        {"timelimit": {}},
        {"stamped_headers": [None]},
        {"stamped_headers": ["stamp"]},
        {"stamped_headers": 7},
        {"stamps": {"stamp": "x"}},
        {"stamps": 7},
    ],
    ids=repr,
)
def test_nothing_is_asked_of_celery(changed: dict[str, Any]) -> None:
    assert what_is_strange(with_header(**changed)) == "it asks for more than an attempt"


@pytest.mark.parametrize(
    "changed",
    [
        {"argsrepr": "x" * (LONGEST_HEADER + 1)},
        {"id": "x" * (LONGEST_HEADER + 1)},
        {"kwargsrepr": {"a": 1}},
        {"root_id": ["x"]},
        {"retries": 1e300},
        {"anything": {"else": 1}},
    ],
    ids=lambda it: repr(it)[:60],
)
def test_headers_are_short_and_simple(changed: dict[str, Any]) -> None:
    assert what_is_strange(with_header(**changed)) == "a header is of another kind, or too long"


@pytest.mark.parametrize("name", ["correlation_id", "reply_to", "priority"])
@pytest.mark.parametrize("value", [["x"], {"x": 1}, "x" * (LONGEST_HEADER + 1)], ids=lambda it: repr(it)[:20])
def test_so_are_the_properties_that_celery_uses(name: str, value: object) -> None:
    assert what_is_strange(message(properties={name: value})) == "a header is of another kind, or too long"


@pytest.mark.parametrize(
    "embedded",
    [
        {"callbacks": [SIGNATURE]},
        {"errbacks": [SIGNATURE]},
        {"chain": [SIGNATURE]},
        {"chord": SIGNATURE},
        {**EMBEDDED, "callbacks": SIGNATURE},
        {**EMBEDDED, "callbacks": [None]},
        {"later": 1},
        [SIGNATURE],
        "chain",
    ],
    ids=lambda it: repr(it)[:30],
)
def test_no_message_makes_a_worker_send_another(embedded: object) -> None:
    assert what_is_strange(message(body=([], KEYWORDS, embedded))) == "its body is no attempt's, or asks for more"


@pytest.mark.parametrize(
    "body", [None, 7, "text", [], {}, [1, 2, 3], [[], {}], [[], [], None], [{}, {}, {}], [["x"], {}, {}]]
)
def test_a_body_of_another_kind_is_none(body: object) -> None:
    assert what_is_strange(message(body=body)) == "its body is no attempt's, or asks for more"


class Exploit:
    """Would tell of itself when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return pytest.fail, ("unpickled",)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe",
        b"[[],{},",
        b"[" * 100_000,
        b'[[],{"tickets":' + b"[" * 10_000 + b"]" * 10_000 + b"},null]",
        b'[[],{"version":' + b"9" * 10_000 + b"},null]",
    ],
    ids=lambda it: repr(it)[:40],
)
def test_a_body_is_json_and_nothing_else(raw: bytes) -> None:
    strange = what_is_strange(message(raw=raw))
    assert strange is not None
    assert strange.startswith("its body can't be read (" if raw else "its body is no attempt's")


ZEROS = 100 * 1024 * 1024


@pytest.mark.parametrize(
    ("content_type", "content_encoding", "raw"),
    [
        ("application/x-python-serialize", "binary", pickle.dumps(Exploit())),
        ("application/x-yaml", "utf-8", b"!!python/object/apply:os.abort []"),
        ("application/x-msgpack", "binary", b"\x93\x90\x80\xc0"),
        ("application/x-unheard-of", "utf-8", b"[[],{},null]"),
        # kombu trusts these two whatever it is told to accept
        ("application/data", "bz2", bz2.compress(bytes(ZEROS))),
        ("application/text", "zlib", zlib.compress(bytes(ZEROS))),
        ("application/data", "utf-8", b"[[],{},null]"),
        ("application/json", "bz2", b"[[],{},null]"),
        ("application/json", ["utf-8"], b"[[],{},null]"),
        (None, None, b"[[],{},null]"),
        (["application/json"], None, b"[[],{},null]"),
    ],
    ids=lambda it: repr(it)[:40],
)
def test_a_body_that_is_not_called_json_is_not_even_read(
    content_type: object, content_encoding: object, raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Message, "decode", lambda _: pytest.fail("it was read"))
    forged = message(raw=raw, content_type=content_type, content_encoding=content_encoding)
    assert len(raw) < LARGEST_BODY
    assert what_is_strange(forged) == "its body is not called JSON"


def test_a_body_of_json_needs_no_encoding() -> None:
    assert what_is_strange(message(content_encoding=None)) is None


@pytest.mark.parametrize("body", [None, 7, True, ["x"], {"x": 1}], ids=repr)
def test_a_body_that_is_no_text_is_none(body: object) -> None:
    """Redis' transport takes a body as the envelope has it, where that names no encoding of it."""
    forged = message()
    forged.body = body
    assert what_is_strange(forged) == "its body is of another kind, or missing"


def test_what_can_t_be_looked_at_is_strange() -> None:
    class Unheard(dict[str, Any]):
        def items(self) -> Any:
            raise RuntimeError("a secret")

    forged = message()
    forged.headers = Unheard(HEADERS)
    assert what_is_strange(forged) == "it can't be looked at (RuntimeError)"


@pytest.mark.parametrize("packed", ["gzip", "zlib", "bzip2", "application/x-bz2", "lzma"])
def test_no_body_is_unpacked(packed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, _ = compression.compress(bytes(ZEROS), packed)
    for table in ("_encoders", "_decoders"):
        monkeypatch.setattr(compression, table, dict(getattr(compression, table)))
    unpack_nothing()
    forged = message({**HEADERS, "compression": packed}, raw=raw)
    assert forged.body == raw
    assert len(forged.errors) == 1


@pytest.mark.parametrize(
    ("content_type", "content_encoding", "packed"),
    [
        ("application/data", "bz2", bz2.compress(bytes(ZEROS))),
        ("application/text", "zlib", zlib.compress(bytes(ZEROS))),
        (None, "bz2", bz2.compress(bytes(ZEROS))),
    ],
)
def test_no_codec_is_asked_for_a_control_message_either(
    content_type: str | None, content_encoding: str, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry: Any = serialization.registry  # type: ignore[attr-defined]  # its stubs don't know it
    for table in ("_decoders", "type_to_name", "name_to_type"):
        monkeypatch.setattr(registry, table, dict(getattr(registry, table)))
    for table in ("_encoders", "_decoders"):
        monkeypatch.setattr(compression, table, dict(getattr(compression, table)))
    unpack_nothing()
    monkeypatch.setattr(serialization, "_decode", lambda *_: pytest.fail("it was unpacked"))
    forged = message(raw=packed, content_type=content_type, content_encoding=content_encoding)
    with pytest.raises(DecodeError):
        forged.decode()


class Channel:
    """What a message asks of its channel."""

    no_ack_consumers = None

    def __init__(self) -> None:
        self.acknowledged: list[object] = []

    def basic_ack(self, delivery_tag: object, *, multiple: bool = False) -> None:
        assert not multiple
        self.acknowledged.append(delivery_tag)


@pytest.mark.parametrize("body", [None, b"\xff\xfe", b"x" * 10_000])
def test_what_can_t_be_unpacked_is_acknowledged_and_told_without_what_stood_in_it(body: bytes | None) -> None:
    channel = Channel()
    forged = Message(
        body=body, channel=channel, delivery_tag="7", headers={"compression": "x", "forged": "a secret" * 1000}
    )
    consumer = object.__new__(TolerantConsumer)
    consumer.connection_errors = ()
    with capture_logs() as told:
        consumer.on_decode_error(forged, KeyError("a secret"))
    assert channel.acknowledged == ["7"]
    assert told == [
        {"event": "a message that can't be read is thrown away", "log_level": "error", "reason": "KeyError"}
    ]


def test_a_body_that_is_too_large_is_not_even_read() -> None:
    tickets = [[str(uuid.UUID(int=number)), 2**53] for number in range(500)]
    largest = json.dumps([[], {"version": 1, "tickets": tickets}, EMBEDDED]).encode()
    assert what_is_strange(message(raw=largest)) is None
    assert len(largest) < LARGEST_BODY / 5
    million = b'[[],{"version":1,"tickets":[' + b",".join([b'["x",1]'] * 10**6) + b"]},null]"
    assert what_is_strange(message(raw=million)) == "its body is too large"
