"""Requests that are given up and are larger than the failed topic takes, with whole workers."""

import base64
import hashlib
import json
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest

from reconciliation.requests import LARGEST_REQUEST_BYTES
from tests.faults.conftest import MakeSite
from tests.faults.load import Load
from tests.faults.site import PATIENT, UP_LIMIT
from tests.support.events import encoded, sync_event
from tests.support.installation import new_learner
from tests.support.kafka import limit_messages
from tests.support.tables import Learner

TOPIC_TAKES = 20_000
#: A request is given up soon.
SETTINGS = {"RETRY_ATTEMPTS": "2", "RETRY_BACKOFF_FIRST": "0.2"}


def _large(random: Random, learner: Learner, size: int) -> bytes:
    """Make a valid request that compression makes little smaller."""
    noise = base64.b64encode(random.randbytes(size)).decode()
    return encoded({**sync_event(learner), "notes": noise})


def _carried(failure: Mapping[str, Any]) -> bytes:
    text = failure.get("event")
    return text.encode() if isinstance(text, str) else base64.b64decode(failure["eventBase64"])


@pytest.mark.timeout(600)
def test_failures_larger_than_their_topic_are_cut_and_block_nobody(make_site: MakeSite, seed: int) -> None:
    site = make_site({**PATIENT, **SETTINGS})
    random = Random(seed)
    load = Load(seed, 300, clicks=1).prepare(site)
    limit_messages(site.ports.bootstrap, site.failed_topic, TOPIC_TAKES)
    # nobody fills the relations of these learners' courses: their requests are given up by workers
    hopeless = [new_learner() for _ in range(12)]
    site.tables.add_consumption({learner: {"content": 2} for learner in hopeless})
    site.tables.add_enrolments(hopeless)
    values = [_large(random, learner, random.choice([100, 15_000, 45_000, 500_000])) for learner in hopeless]
    values[0] = _large(random, hopeless[0], 45_000)
    # and these by the bridge, as those of them that are too large for any request
    values[1] = _large(random, hopeless[1], 500_000)
    garbage = random.randbytes(300_000)
    load.send_some(site, 150)
    site.send_records([(learner.user.encode(), value) for learner, value in zip(hopeless, values, strict=True)])
    site.send_records([(None, garbage)])
    load.send_all(site)
    site.start()
    site.wait_for("the failed events", lambda: len(site.failed.records()) > len(hopeless), UP_LIMIT)
    site.wait_settled(180)

    verdict = load.verdict(site)
    verdict.check()
    assert verdict.repeated == ()
    failures = site.failed.records()
    assert len(failures) == len(hopeless) + 1
    by_key = {record.key: record for record in failures}
    for learner, value in zip(hopeless, values, strict=True):
        record = by_key[learner.user.encode()]
        failure = record.event["failInfo"]
        assert failure["errorCode"] == (
            "INVALID_REQUEST" if len(value) > LARGEST_REQUEST_BYTES else "RELATIONS_MISSING"
        )
        assert record.headers["original-topic"] == site.input_topic.encode()
        if "sha256" not in failure:
            whole = {name: part for name, part in record.event.items() if name not in ("jobName", "failInfo")}
            assert whole == json.loads(value)
            continue
        assert len(value) > TOPIC_TAKES / 2
        _check_cut(failure, value)
    assert all("sha256" in by_key[learner.user.encode()].event["failInfo"] for learner in hopeless[:2])
    _check_cut(by_key[None].event["failInfo"], garbage)


def _check_cut(failure: Mapping[str, Any], value: bytes) -> None:
    start = _carried(failure)
    assert (failure["size"], failure["sha256"]) == (len(value), hashlib.sha256(value).hexdigest())
    assert value.startswith(start)
    assert len(start) > TOPIC_TAKES / 10
