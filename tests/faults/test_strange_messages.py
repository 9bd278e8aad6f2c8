"""Messages on Celery's queue that no worker of this release can read, and forged ones, among good ones."""

import base64
import bz2
import json
import pickle
import zlib
from collections.abc import Callable, Sequence
from functools import cache

import pytest

from tests.faults.broker import queue_of, queues_named, with_arguments, with_envelope, with_headers
from tests.faults.conftest import MakeSite
from tests.faults.load import Load
from tests.faults.site import UP_LIMIT, Site
from tests.support.broker import operator

#: With groups of ten, a message of each kind beside two good ones.
LEARNERS_OF_A_KIND = 40

PICKLE = "application/x-python-serialize"

#: Each kind: what it makes of a good message. The requests of that message have no other then.
STRANGE: dict[str, Callable[[bytes], bytes]] = {
    "a task of a newer release": lambda it: with_headers(it, task="tasks.reconcile_thoroughly"),
    "a message of a newer release": lambda it: with_arguments(it, lambda old: {**old, "version": 2}),
    "arguments of a newer release": lambda it: with_arguments(it, lambda old: {**old, "priority": 1}),
    "tickets of another kind": lambda it: with_arguments(it, lambda old: {**old, "tickets": [{"id": 1}]}),
    "tickets that nobody issued": lambda it: with_arguments(it, lambda old: {**old, "tickets": [["forged", 1]]}),
    "a body that is not base64": lambda it: with_envelope(it, lambda old: {**old, "body": "%%% no base64"}),
    "a body that is not JSON": lambda it: with_envelope(it, lambda old: {**old, "body": "bm8gSlNPTg=="}),
    "a body that is null": lambda it: with_envelope(it, lambda old: {**old, "body": "bnVsbA=="}),
    "a body that is a number": lambda it: with_envelope(it, lambda old: {**old, "body": "Nw=="}),
    "a body that is a text": lambda it: with_envelope(it, lambda old: {**old, "body": "ImFiYyI="}),
    "a body with arguments of another kind": lambda it: with_envelope(it, lambda old: {**old, "body": "WzEsMiwzXQ=="}),
    "a pickled body": lambda it: with_envelope(
        it, lambda old: {**old, "content-type": "application/x-python-serialize"}
    ),
    "a compression nobody knows": lambda it: with_headers(it, compression="application/x-unheard-of"),
    "no headers": lambda it: with_envelope(it, lambda old: {**old, "headers": {}}),
    "no task": lambda it: with_headers(it, task=None),
    "headers of another kind": lambda it: with_envelope(it, lambda old: {**old, "headers": None}),
    "no properties": lambda it: with_envelope(it, lambda old: {**old, "properties": {}}),
    "an empty envelope": lambda _: b"{}",
    "an envelope of another kind": lambda _: b"[]",
    "an envelope that is not JSON": lambda it: it[: len(it) // 2],
    "an envelope that is not text": lambda _: b"\xff\xfe\x00",
    "nothing": lambda _: b"",
}


#: Where forged messages would have workers send further ones.
ELSEWHERE = "forged"
_SENT_ON = {"task": "tasks.reconcile", "args": [], "kwargs": {}, "options": {"queue": ELSEWHERE}, "subtask_type": None}
_FAR = "2999-01-01T00:00:00+00:00"


def _with_body(message: bytes, body: object, **headers: object) -> bytes:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return with_envelope(with_headers(message, **headers), lambda old: {**old, "body": base64.b64encode(text).decode()})


def _pickled(message: bytes) -> bytes:
    return with_envelope(_with_body(message, pickle.dumps(([], {}, None))), lambda old: {**old, "content-type": PICKLE})


@cache
def _packed(pack: Callable[[bytes], bytes]) -> bytes:
    return pack(bytes(100 * 1024 * 1024))


def _unencoded(message: bytes, value: object) -> bytes:
    """Put a value into the envelope as it is: its properties then don't say how the body is encoded."""
    return with_envelope(
        message,
        lambda old: {
            **old,
            "body": value,
            "properties": {name: old["properties"][name] for name in old["properties"] if name != "body_encoding"},
        },
    )


def _tickets(message: bytes, change: Callable[[list[list[object]]], object]) -> bytes:
    return with_arguments(message, lambda old: {**old, "tickets": change(old["tickets"])})


#: What someone who can write to the broker might have a worker do.
FORGED: dict[str, Callable[[bytes], bytes]] = {
    "a group to be sent": lambda it: _with_body(it, [[[_SENT_ON], "r", "g", []], {}, None], task="celery.group"),
    "a map": lambda it: _with_body(it, [[_SENT_ON, [[]]], {}, None], task="celery.map"),
    "chunks": lambda it: _with_body(it, [[_SENT_ON, [[]], 1], {}, None], task="celery.chunks"),
    "a chord's end": lambda it: _with_body(it, [["g", _SENT_ON], {"result": []}, None], task="celery.chord_unlock"),
    "a cleaning": lambda it: _with_body(it, [[], {}, None], task="celery.backend_cleanup"),
    "a callback": lambda it: _with_body(it, [[], {}, {"callbacks": [_SENT_ON]}]),
    "an error's callback": lambda it: _with_body(it, [[], {"x": 1}, {"errbacks": [_SENT_ON]}]),
    "a chain": lambda it: _with_body(it, [[], {}, {"chain": [_SENT_ON]}]),
    "the old protocol": lambda it: _with_body(
        with_envelope(it, lambda old: {**old, "headers": {}}),
        {"task": "tasks.reconcile", "id": "forged", "args": [], "kwargs": {}, "callbacks": [_SENT_ON]},
    ),
    "an ETA": lambda it: with_headers(it, eta=_FAR),
    "an end": lambda it: with_headers(it, expires="2000-01-01T00:00:00+00:00"),
    "a time limit": lambda it: with_headers(it, timelimit=[0.001, 0.001]),
    "half a time limit": lambda it: with_headers(it, timelimit=[None]),
    "three time limits": lambda it: with_headers(it, timelimit=[None, None, None]),
    "an id that is none": lambda it: with_headers(it, id=["forged"]),
    "a header that is none": lambda it: with_headers(it, stamped_headers=7, stamps=7),
    "another name": lambda it: with_headers(it, shadow="<script>"),
    "a page of HTML": lambda it: with_headers(it, argsrepr="<script>" * 1000),
    "a real pickle": _pickled,
    "a number as the body": lambda it: _unencoded(it, 7),
    "a truth as the body": lambda it: _unencoded(it, value=True),
    "nothing packed": lambda it: with_envelope(
        with_headers(it, compression="x"), lambda old: {name: old[name] for name in old if name != "body"}
    ),
    "a hundred megabytes, packed": lambda it: _with_body(it, _packed(zlib.compress), compression="gzip"),
    "a hundred megabytes, encoded": lambda it: with_envelope(
        _with_body(it, _packed(bz2.compress)),
        lambda old: {**old, "content-type": "application/data", "content-encoding": "bz2"},
    ),
    "deep nesting": lambda it: _with_body(it, b'[[],{"version":' + b"[" * 10_000 + b"]" * 10_000 + b"},null]"),
    "a long number": lambda it: _with_body(it, b'[[],{"version":' + b"9" * 10_000 + b"},null]"),
    "a million tickets": lambda it: _tickets(it, lambda old: old * 100_000),
    "tickets twice": lambda it: _tickets(it, lambda old: old * 2),
    "generations below zero": lambda it: _tickets(it, lambda old: [[entry, -1] for entry, _ in old]),
    "generations that are true": lambda it: _tickets(it, lambda old: [[entry, True] for entry, _ in old]),
    "half a character": lambda it: _tickets(it, lambda _: [["\ud800", 1]]),
    "a key of another kind": lambda it: _tickets(it, lambda _: [["x}:due", 1]]),
}


#: Kinds that end a worker: once each, since nobody gets them a second time.
DEADLY = ("an envelope of another kind", "an envelope that is not JSON", "an envelope that is not text", "nothing")


def _check_nothing_is_lost(site: Site, seed: int, kinds: Sequence[str]) -> None:
    """Let every third message become one of these kinds in turn, and hold what follows against the oracle."""
    load = Load(seed, LEARNERS_OF_A_KIND * len(kinds), clicks=1).prepare(site)
    queue = queue_of(site)
    load.send_all(site)
    site.run(site.bridge)
    site.wait_accepted(UP_LIMIT)
    messages = queue.messages()
    strange = range(1, len(messages), 3)
    assert len(strange) >= len(kinds)
    for number, place in enumerate(strange):
        messages[place] = {**STRANGE, **FORGED}[kinds[number % len(kinds)]](messages[place])
    queue.replace(messages)
    site.start().wait_settled(180)

    verdict = load.verdict(site)
    verdict.check()
    # what comes of them is gone: no worker meets it again
    site.wait_for("the queue is empty", lambda: len(queue) == queue.unacknowledged() == 0, UP_LIMIT)
    assert site.restarts.total() <= len(strange)


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site({"BRIDGE_GROUP_SIZE": "10", "WORKER_THREADS": "2"}, workers=1)


@pytest.mark.timeout(600)
def test_messages_that_no_worker_understands_lose_nothing(site: Site, seed: int) -> None:
    harmless = [kind for kind in STRANGE if kind not in DEADLY]
    _check_nothing_is_lost(site, seed, harmless)


@pytest.mark.timeout(600)
def test_messages_that_end_a_worker_lose_nothing(site: Site, seed: int) -> None:
    _check_nothing_is_lost(site, seed, DEADLY)


@pytest.mark.timeout(600)
def test_forged_messages_do_nothing_and_lose_nothing(site: Site, seed: int) -> None:
    _check_nothing_is_lost(site, seed, list(FORGED))
    # no worker ended over one, nor sent what one named
    assert site.restarts.total() == 0
    assert queues_named(site, ELSEWHERE) == []
    assert "Traceback" not in site.worker.told()


#: Commands of `celery control` that no operator gives, as (name, arguments).
STRANGE_COMMANDS: tuple[tuple[str, dict[str, object]], ...] = (
    ("no such command", {}),
    ("revoke", {"task_id": {"not": "an id"}}),
    ("revoke", {}),
    ("terminate", {"task_id": "forged", "signal": "no such signal"}),
    ("rate_limit", {"task_name": "tasks.reconcile", "rate_limit": ["never"]}),
    ("time_limit", {"task_name": 7}),
    ("election", {"id": [], "topic": {}, "action": 7}),
    ("pool_restart", {"modules": ["os"], "reload": True}),
    ("add_consumer", {}),
    ("query_task", {"ids": [{}]}),
)


@pytest.mark.timeout(600)
def test_control_messages_that_mean_nothing_change_nothing(site: Site, seed: int) -> None:
    load = Load(seed, LEARNERS_OF_A_KIND, clicks=1).prepare(site)
    site.start()
    with operator(site.settings, site.group_id) as forger:
        site.wait_for("the worker listens", lambda: bool(forger.control.ping(timeout=2)), UP_LIMIT)
        for name, arguments in STRANGE_COMMANDS:
            forger.control.broadcast(name, arguments=arguments)
        load.send_all(site)
        site.wait_settled(180)
        assert len(forger.control.ping(timeout=10)) == 1
    load.verdict(site).check()
    assert site.restarts.total() == 0
