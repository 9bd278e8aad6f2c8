import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.entries import Ticket
from ledger.messages import MESSAGE_VERSION, RECONCILE_TASK, decode_message, encode_message, summary
from worker.celery import app


@given(st.lists(st.builds(Ticket, st.text(), st.integers())))
def test_a_message_comes_back_as_it_was(tickets: list[Ticket]) -> None:
    sent = json.loads(json.dumps(encode_message(tickets)))
    assert decode_message(sent["version"], sent["tickets"]) == tuple(tickets)


@pytest.mark.parametrize(
    ("version", "tickets"),
    [
        (None, None),
        (MESSAGE_VERSION + 1, []),
        (MESSAGE_VERSION, None),
        (MESSAGE_VERSION, "tickets"),
        (MESSAGE_VERSION, [["entry"]]),
        (MESSAGE_VERSION, [["entry", "1"]]),
        (MESSAGE_VERSION, [[1, 1]]),
        (MESSAGE_VERSION, [{"entry": 1}]),
    ],
)
def test_anything_else_is_refused(version: object, tickets: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        decode_message(version, tickets)


def test_the_summary_says_how_many_and_no_id() -> None:
    assert summary([Ticket("secret", 1)]) == "1 request"
    assert summary([Ticket("secret", 1)] * 3) == "3 requests"


def test_the_summary_names_a_few_courses() -> None:
    def of(*courses: str) -> str:
        return summary([Ticket("entry", 1, course) for course in courses])

    assert of("do_2", "do_1", "do_2") == "3 requests (do_1, do_2)"
    assert of("a", "b", "c", "d", "e") == "5 requests (a, b, c and 2 more)"
    assert of("line\nbreak" + "x" * 50) == "1 request (line?break" + "x" * 30 + "…)"


def test_the_bridge_s_task_name_is_one_that_workers_register() -> None:
    app.loader.import_default_modules()
    assert RECONCILE_TASK in app.tasks
    assert all(name.startswith(("tasks.", "celery.")) for name in app.tasks)
