"""What a fleet of readers does with one that stops in the middle of a message; tests/bulk has real ones."""

import os
import struct
import time
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler

import pytest

from bulk import fleet
from bulk.fleet import Fleet, _Place
from bulk.model import Found, Reason, Selection, Slice, TokenRange
from bulk.options import ScanOptions
from bulk.reader_process import Assignment, Look, Told
from bulk.ring import FIRST, LAST
from reconciliation.comparison import Cell, Change
from reconciliation.errors import ScanFailed
from reconciliation.model import EnrolmentKey
from reconciliation.settings import load_settings


def stop_in_a_message(connection: Connection, _assignment: Assignment) -> None:
    """Promise a thousand bytes and send ten: what a reader does that is frozen while it sends."""
    connection.recv()
    up = bytes(ForkingPickler.dumps(Told("up")))
    # in one go, as `Connection.send` frames each: nobody is between the two for long
    os.write(connection.fileno(), struct.pack("!i", len(up)) + up + struct.pack("!i", 1000) + b"0123456789")
    time.sleep(600)


@pytest.fixture
def assignment(monkeypatch: pytest.MonkeyPatch) -> Assignment:
    monkeypatch.setattr(fleet, "read_ranges", stop_in_a_message)
    monkeypatch.setattr(fleet, "_MOST_LOSSES", 0)
    return Assignment(load_settings({}), ScanOptions(), Selection(), None, b"s" * 32, None, 1, None)


def test_a_reader_that_stops_in_the_middle_of_a_message_is_lost(assignment: Assignment) -> None:
    def hurry(_text: str) -> None:
        # its start takes long on a busy machine, and is not what is measured
        readers._silence = 2.0

    readers = Fleet(assignment, 1, tell=hurry, stop=lambda: False, silence=60.0)
    try:
        with pytest.raises(ScanFailed, match="it stopped in the middle of a message for 2 s"):
            list(readers.carry_out([Look(TokenRange(FIRST, LAST), ())]))
    finally:
        readers.close()


def test_what_a_slice_tells_is_counted_by_its_contents() -> None:
    key, content = EnrolmentKey("u", "c", "b"), {f"do_{number}": 2 for number in range(200)}
    changes = (Change(Cell.PROGRESS, 1, 2), Change(Cell.CONTENT_STATUS, content, content))
    part = Slice(TokenRange(0, 1), 3, (Found(key, (Reason.PROGRESS,), changes), Found(key, (Reason.SELECTED,))), ())
    place = _Place()
    place.put(part)
    assert list(place.told) == [2 + 2 * 200]
    assert place.take() is part
    assert not place.told


def test_who_waits_for_the_rest_of_a_message_can_be_stopped(assignment: Assignment) -> None:
    asked: list[float] = []

    def stop() -> bool:
        asked.append(time.monotonic())
        return time.monotonic() - asked[0] > 6

    readers = Fleet(assignment, 1, tell=lambda _: None, stop=stop, silence=600.0)
    try:
        assert list(readers.carry_out([Look(TokenRange(FIRST, LAST), ())])) == []
    finally:
        readers.close()
    assert readers.pids() == []
