"""Messages on Celery's queue that no worker of this release can read, among good ones."""

from collections.abc import Callable, Sequence

import pytest

from tests.faults.broker import BrokerQueue, with_arguments, with_envelope, with_headers
from tests.faults.conftest import MakeSite
from tests.faults.load import Load
from tests.faults.site import UP_LIMIT, Site

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


#: Kinds that end a worker: once each, since nobody gets them a second time.
DEADLY = ("an envelope of another kind", "an envelope that is not JSON", "an envelope that is not text", "nothing")


def _check_nothing_is_lost(site: Site, seed: int, kinds: Sequence[str]) -> None:
    """Let every third message become one of these kinds in turn, and hold what follows against the oracle."""
    load = Load(seed, LEARNERS_OF_A_KIND * len(kinds), clicks=1).prepare(site)
    queue = BrokerQueue(site)
    load.send_all(site)
    site.run(site.bridge)
    site.wait_accepted(UP_LIMIT)
    messages = queue.messages()
    strange = range(1, len(messages), 3)
    assert len(strange) >= len(kinds)
    for number, place in enumerate(strange):
        messages[place] = STRANGE[kinds[number % len(kinds)]](messages[place])
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
