import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.entries import Ticket
from ledger.messages import (
    MESSAGE_VERSION,
    MOST_TICKETS,
    RECONCILE_TASK,
    decode_message,
    encode_message,
    summary,
)
from reconciliation.errors import SettingsError
from reconciliation.settings import load_settings
from worker.celery import app

ENTRY = "6a638968-6a06-5d38-88f7-97ded23126ec"
OTHER = "6a638968-6a06-5d38-88f7-97ded23126ed"


@given(st.lists(st.builds(Ticket, st.uuids().map(str), st.integers(1, 2**53)), unique_by=lambda it: it.entry_id))
def test_a_message_comes_back_as_it_was(tickets: list[Ticket]) -> None:
    sent = json.loads(json.dumps(encode_message(tickets)))
    assert decode_message(sent["version"], sent["tickets"]) == tuple(tickets)


def test_the_largest_group_is_a_message() -> None:
    named = [[str(uuid.UUID(int=number)), 1] for number in range(MOST_TICKETS + 1)]
    assert len(decode_message(MESSAGE_VERSION, named[1:])) == MOST_TICKETS
    with pytest.raises(ValueError, match="500"):
        decode_message(MESSAGE_VERSION, named)


def test_no_group_is_larger_than_a_message() -> None:
    assert load_settings({"BRIDGE_GROUP_SIZE": str(MOST_TICKETS)}).group_size == MOST_TICKETS
    with pytest.raises(SettingsError, match=r"bridge\.group\.size"):
        load_settings({"BRIDGE_GROUP_SIZE": str(MOST_TICKETS + 1)})


@pytest.mark.parametrize(
    ("version", "tickets"),
    [
        (None, None),
        (MESSAGE_VERSION + 1, []),
        (True, []),
        ("1" * 10_000, []),
        (MESSAGE_VERSION, None),
        (MESSAGE_VERSION, "tickets"),
        (MESSAGE_VERSION, {"0": [ENTRY, 1]}),
        (MESSAGE_VERSION, [[ENTRY]]),
        (MESSAGE_VERSION, [[ENTRY, 1, 1]]),
        (MESSAGE_VERSION, [[ENTRY, "1"]]),
        (MESSAGE_VERSION, [[ENTRY, 1.0]]),
        (MESSAGE_VERSION, [[ENTRY, None]]),
        # Redis' client takes no bool, and its error would count as a ledger that is away
        (MESSAGE_VERSION, [[ENTRY, True]]),
        (MESSAGE_VERSION, [[ENTRY, 0]]),
        (MESSAGE_VERSION, [[ENTRY, -1]]),
        (MESSAGE_VERSION, [[ENTRY, 2**53 + 1]]),
        (MESSAGE_VERSION, [[ENTRY, 10**4000]]),
        (MESSAGE_VERSION, [[1, 1]]),
        (MESSAGE_VERSION, [["", 1]]),
        (MESSAGE_VERSION, [["entry", 1]]),
        (MESSAGE_VERSION, [[ENTRY + "\n", 1]]),
        (MESSAGE_VERSION, [[ENTRY.upper(), 1]]),
        (MESSAGE_VERSION, [["\ud800" * 36, 1]]),
        (MESSAGE_VERSION, [["x" * 10**6, 1]]),
        (MESSAGE_VERSION, [{"entry": 1}]),
        (MESSAGE_VERSION, [[ENTRY, 1], [OTHER, 1], [ENTRY, 2]]),
        (MESSAGE_VERSION, [[ENTRY, 1]] * 10**6),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_anything_else_is_refused_in_few_words_of_ours(version: object, tickets: object) -> None:
    with pytest.raises((TypeError, ValueError)) as raised:
        decode_message(version, tickets)
    assert len(str(raised.value)) < 60
    assert "6a638968" not in str(raised.value)


def test_the_summary_says_how_many_and_no_id() -> None:
    assert summary([Ticket("secret", 1)]) == "1 request"
    assert summary([Ticket("secret", 1)] * 3) == "3 requests"


def test_the_summary_names_a_few_courses() -> None:
    def of(*courses: str) -> str:
        return summary([Ticket("entry", 1, course) for course in courses])

    assert of("do_2", "do_1", "do_2") == "3 requests (do_1, do_2)"
    assert of("a", "b", "c", "d", "e") == "5 requests (a, b, c and 2 more)"
    assert of("line\nbreak" + "x" * 50) == r"1 request (line\nbreak" + "x" * 30 + "…)"
    hostile = of("<script>\x1b[2J\u202e\r\n\ud800" + "x" * 100_000)
    assert hostile.isprintable()
    assert len(hostile) < 100


def test_the_bridge_s_task_name_is_one_that_workers_register() -> None:
    app.loader.import_default_modules()
    assert RECONCILE_TASK in app.tasks
    assert all(name.startswith(("tasks.", "celery.")) for name in app.tasks)


def test_a_summary_names_the_bulk_run() -> None:
    tickets = [Ticket(ENTRY, 1, "do_1", "20260131-143005-3fa2"), Ticket(OTHER, 1, "do_1", "20260131-143005-3fa2")]
    assert summary(tickets) == "2 requests (do_1) of bulk run 20260131-143005-3fa2"
    runs = [Ticket(str(uuid.UUID(int=number)), 1, "", f"run-{number}") for number in range(3)]
    assert summary(runs) == "3 requests of bulk runs run-0, run-1 and 1 more"
