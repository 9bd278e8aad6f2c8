"""The event that `request` sends is the course service's own."""

import json
import uuid

import pytest

from commands.sync_requests import checked_id, new_request
from reconciliation.model import EnrolmentKey, Origin, Record, SyncRequest
from reconciliation.requests import parse

KEY = EnrolmentKey("fbe926ac-a395-40e4-a65b-9b4f711d7642", "do_21310287978188800014457", "0131029098223779842")
UNIQUE = uuid.UUID("a18caaec-50ac-4c19-bcfe-84e2ad9aa5eb")

# as the course service sends it
DOCUMENTED = """
{"eid":"BE_JOB_REQUEST","ets":1683556693275,"mid":"LP.1683556693275.a18caaec-50ac-4c19-bcfe-84e2ad9aa5eb",
 "actor":{"type":"System","id":"Course Batch Updater"},"context":{"pdata":{"ver":"1.0","id":"org.sunbird.platform"}},
 "object":{"type":"CourseBatchEnrolment","id":"0131029098223779842_fbe926ac-a395-40e4-a65b-9b4f711d7642"},
 "edata":{"action":"user-enrolment-sync","iteration":1,"batchId":"0131029098223779842",
          "userId":"fbe926ac-a395-40e4-a65b-9b4f711d7642","courseId":"do_21310287978188800014457"}}
"""


def test_it_is_the_documented_event_keyed_by_the_learner() -> None:
    request, event = new_request(KEY, "topic", 1683556693275, UNIQUE)
    assert json.loads(event.value) == json.loads(DOCUMENTED)
    assert list(json.loads(event.value)) == list(json.loads(DOCUMENTED))
    assert (event.topic, event.key, event.headers) == ("topic", KEY.user_id.encode(), ())
    assert (request.mid, request.enrolment) == ("LP.1683556693275.a18caaec-50ac-4c19-bcfe-84e2ad9aa5eb", KEY)


@pytest.mark.parametrize("odd", ['"', "\\", "ü", "課程", "\x00", "\u2028", "a b", '"},"x":{"'])
def test_whatever_an_id_holds_the_bridge_reads_it_back(odd: str) -> None:
    key = EnrolmentKey(odd + "u", odd + "c", odd + "b")
    _, event = new_request(key, "topic", 1, UNIQUE)
    parsed = parse(Record(Origin("topic", 0, 0, 1), event.key, event.value))
    assert isinstance(parsed, SyncRequest)
    assert parsed.enrolment == key


def test_ids_lose_the_blanks_around_them() -> None:
    assert checked_id("user", " \talice\n") == "alice"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "user is blank"),
        (" \u00a0", "blank"),
        ("\udcff", "UTF-8"),
        ("é" * 513, "user takes 1026 bytes; 1024 are allowed"),
    ],
)
def test_what_can_be_no_id_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        checked_id("user", text)
