"""A bulk run's order, which its record keeps for whoever resumes it, and the driver's name in it."""

import json
import os
import socket
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk.means import is_gone, this_process
from bulk.model import Selection
from bulk.order import FileMark, Order, decode_order, encode_order
from commands.bulk_output import say_selection

IDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SELECTIONS = st.builds(Selection, IDS, IDS, IDS, st.booleans(), st.booleans(), st.booleans(), st.booleans())
FILES = st.none() | st.builds(FileMark, IDS, IDS)


@given(
    st.builds(
        Order,
        SELECTIONS,
        FILES,
        rate=st.none() | st.floats(0.1, 1e6),
        most_given_up=st.integers(0, 10**6),
        reissue=st.booleans(),
        older_than=st.floats(0, 1e9),
    )
)
def test_an_order_comes_back_as_it_was(order: Order) -> None:
    assert decode_order(*encode_order(order)) == order


def test_an_option_of_a_newer_release_is_passed_over_and_a_selection_is_not() -> None:
    selection, options = encode_order(Order(Selection(batch_id="b")))
    newer = json.dumps({**json.loads(options), "colour": "red"})
    assert decode_order(selection, newer) == Order(Selection(batch_id="b"))
    with pytest.raises(ValueError, match="knows no selection by tenant"):
        decode_order(json.dumps({**json.loads(selection), "tenant": "t"}), options)


@pytest.mark.parametrize(
    ("order", "told"),
    [
        (Order(Selection(stuck=True)), "all enrolments: stuck"),
        (Order(Selection(batch_id="b", course_id="c")), "course c, batch b"),
        (Order(Selection(user_id="u", active_only=True, not_completed=True)), "learner u: active and not completed"),
        (Order(Selection(missing_certificates=True), FileMark("x.csv", "")), "file x.csv: without a certificate"),
    ],
)
def test_a_selection_is_told_in_words(order: Order, told: str) -> None:
    assert say_selection(order) == told


def test_a_driver_is_gone_only_where_that_is_certain() -> None:
    assert not is_gone(this_process())
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert is_gone(f"process {ended.pid} on {socket.gethostname()}")
    assert not is_gone(f"process {ended.pid} on another-host")
    assert not is_gone("somebody")
    assert not is_gone(f"process {'9' * 30} on {socket.gethostname()}")
    assert not is_gone(f"process {os.getppid()} on {socket.gethostname()}")
