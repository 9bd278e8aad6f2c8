"""Scans while processes are killed, servers are away and rows move: they stay exact, and no wait is endless."""

import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bulk.fleet import Fleet
from bulk.model import Found, Selection, Slice
from bulk.options import ScanOptions
from bulk.reader_process import Done, Look, Spill
from bulk.scan import Scan
from devstack.ports import HOST, Ports
from devstack.schema import AggregateLayout
from devstack.stack import Stack
from reconciliation.errors import Interrupted, ScanFailed, SettingsError
from reconciliation.model import EnrolmentKey
from reconciliation.settings import load_settings
from tests.bulk.cases import AGGREGATE, CONSUMPTION, ENROLMENT, STUCK, found_of, key_of, tables, write
from tests.bulk.conftest import WHOLE, Filled, OpenScan, reader_of
from tests.bulk.test_scan import NEVER, assert_whole
from tests.conftest import MakeKeyspace
from tests.support.relations import RelationSets, course_of_units
from tests.support.search import SearchService
from tests.support.waiting import wait_until


def test_a_reader_that_is_killed_is_replaced(filled: Filled, open_scan: OpenScan, told: list[str]) -> None:
    slices: list[Slice] = []
    with open_scan(filled, slice_size=7) as scan:
        for looked in scan.slices(STUCK, None, NEVER):
            slices.append(looked)
            if len(slices) == 3:
                victim = scan.pids()[0]
                os.kill(victim, signal.SIGKILL)
    assert_whole(slices)
    assert found_of(slices) == filled.expected
    lost = "a reader process was lost (it ended with exit code -9): another goes on in its place"
    assert [text for text in told if "was lost" in text] == [lost]
    assert victim not in scan.pids()


def test_readers_that_are_killed_while_aggregates_are_spilled_lose_nothing(
    filled: Filled, open_scan: OpenScan, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hear, left = Fleet._hear, iter(range(2))

    def heard(fleet: Fleet, reader: Any, places: Any) -> None:
        hear(fleet, reader, places)
        # its range is done, and the next one will be its own
        if reader.order is None and next(left, None) is not None:
            os.kill(reader.pid, signal.SIGKILL)

    monkeypatch.setattr(Fleet, "_hear", heard)
    with open_scan(filled) as scan:
        slices = list(scan.slices(STUCK, None, NEVER))
    assert found_of(slices) == filled.expected
    assert len([text for text in told if "was lost" in text]) == 2


def test_readers_that_are_killed_again_and_again_end_the_scan(
    filled: Filled, open_scan: OpenScan, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = Fleet._started

    def start(fleet: Fleet) -> Any:
        reader = started(fleet)
        os.kill(reader.pid, signal.SIGKILL)
        return reader

    monkeypatch.setattr(Fleet, "_started", start)
    with open_scan(filled) as scan, pytest.raises(ScanFailed, match="reader processes were lost"):
        list(scan.slices(STUCK, None, NEVER))
    assert scan.pids() == []


def test_cassandra_that_is_away_for_some_seconds_is_waited_for(
    filled: Filled, open_scan: OpenScan, stack: Stack, told: list[str]
) -> None:
    cassandra = stack.server("cassandra")
    slices: list[Slice] = []
    with (
        open_scan(filled, {"LMS_CASSANDRA_TIMEOUT": "2"}, slice_size=7) as scan,
        closing(scan.slices(STUCK, None, NEVER)) as looked,
    ):
        slices += itertools.islice(looked, 3)
        cassandra.stop()
        with once_told("waiting for Cassandra: ", told, cassandra.resume):
            slices += looked
    assert_whole(slices)
    assert found_of(slices) == filled.expected
    # a page, or the look at the enrolments of one: whichever was in hand (the next tests tell them apart)
    assert any(text.startswith("waiting for Cassandra: ") for text in told), told


@contextmanager
def once_told(text: str, told: list[str], mend: Callable[[], object]) -> Iterator[None]:
    """Have a server come back two seconds after somebody said that it is waited for, and with the block in any case."""
    end = threading.Event()

    def run() -> None:
        while not any(text in it for it in list(told)) and not end.wait(0.1):
            pass
        end.wait(2)
        mend()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


@pytest.mark.parametrize("is_back", [True, False], ids=["for some seconds", "for good"])
def test_a_search_service_that_is_away_is_waited_for_and_nobody_is_passed_over(
    filled: Filled, open_scan: OpenScan, searched: SearchService, told: list[str], is_back: bool
) -> None:
    searched.broken = True
    try:
        with open_scan(filled, patience=300.0 if is_back else 2.0) as scan:
            if is_back:
                with once_told("waiting for search service", told, lambda: setattr(searched, "broken", False)):
                    slices = list(scan.slices(STUCK, None, NEVER))
                assert_whole(slices)
                assert found_of(slices) == filled.expected
                assert any("waiting for search service" in text for text in told), told
            else:
                with pytest.raises(ScanFailed, match=r"tried for 2 s: .*SERVICE_SEARCH_BASEPATH"):
                    list(scan.slices(STUCK, None, NEVER))
    finally:
        searched.broken = False


def test_cassandra_that_stays_away_is_told_with_range_and_setting(
    filled: Filled, open_scan: OpenScan, stack: Stack
) -> None:
    cassandra = stack.server("cassandra")
    try:
        # one reader, so that none is still connecting; within the patience that fails too
        with open_scan(filled, {"LMS_CASSANDRA_TIMEOUT": "5"}, slice_size=7, patience=2.0, processes=1) as scan:
            # nobody is read afresh: what fails is a page
            slices = scan.slices(Selection(active_only=True), None, NEVER)
            next(slices)
            cassandra.stop()
            expected = r"between the tokens -?\d+ and -?\d+: tried for 2 s: .*LMS_CASSANDRA_TIMEOUT"
            with pytest.raises(ScanFailed, match=expected):
                list(slices)
    finally:
        cassandra.resume()
    wait_until("Cassandra answers again", cassandra.answers)


@pytest.mark.parametrize("selection", [Selection(), STUCK])
def test_who_judges_while_cassandra_is_away_can_be_stopped(filled: Filled, stack: Stack, selection: Selection) -> None:
    is_away, stop, cassandra = threading.Event(), threading.Event(), stack.server("cassandra")
    settings = load_settings({**filled.settings, "LMS_CASSANDRA_TIMEOUT": "1"})
    keys = [key_of(it) for it in filled.cases[:3]]

    def tell(_text: str) -> None:
        # a busy Cassandra takes longer than a second now and then
        if is_away.is_set():
            stop.set()

    try:
        with Scan(settings, ScanOptions(patience=30.0), tell, stop) as scan:
            assert len(scan.judge(keys, selection)) == 3
            # as a run does between two slices
            with closing(scan.slices(selection, None, NEVER)) as slices:
                next(slices)
                cassandra.stop()
                is_away.set()
                with pytest.raises(Interrupted):
                    scan.judge(keys, selection)
    finally:
        cassandra.resume()
    wait_until("Cassandra answers again", cassandra.answers)


def test_who_waits_for_the_first_connection_can_be_stopped(filled: Filled, stack: Stack) -> None:
    stop, cassandra = threading.Event(), stack.server("cassandra")
    settings = load_settings({**filled.settings, "LMS_CASSANDRA_TIMEOUT": "1"})
    cassandra.stop()
    try:
        with (
            pytest.raises(Interrupted),
            Scan(settings, ScanOptions(patience=30.0), lambda _: stop.set(), stop),
        ):
            pass
    finally:
        cassandra.resume()
    wait_until("Cassandra answers again", cassandra.answers)


def test_a_table_that_is_not_there_is_told_at_once(filled: Filled, open_scan: OpenScan) -> None:
    wrong = {"LMS_CASSANDRA_USER_ENROLMENTS_TABLE": "no_such_table"}
    with pytest.raises(SettingsError, match="no_such_table"), open_scan(filled, wrong):
        pass


def test_a_folder_that_is_not_there_is_named(filled: Filled, open_scan: OpenScan) -> None:
    with open_scan(filled, folder="/no/such/folder") as scan, pytest.raises(ScanFailed, match=r"/no/such.*TMPDIR"):
        next(scan.slices(STUCK, None, NEVER))


@dataclass(frozen=True, slots=True)
class Moving:
    """A learner whose rows are as they should be, tables of their own, and a folder for a reader."""

    key: EnrolmentKey
    settings: dict[str, str]
    keyspace: str
    folder: Path


@pytest.fixture
def moving(ports: Ports, make_keyspace: MakeKeyspace, tmp_path: Path) -> Callable[[], Moving]:
    def make() -> Moving:
        keyspace = make_keyspace(AggregateLayout.USER_IN_PARTITION)
        key = EnrolmentKey("a-learner", f"do_{keyspace}", "batch")
        unit = f"{key.course_id}_unit"
        with closing(RelationSets(HOST, ports.redis, 11)) as relations, tables(ports, keyspace) as connected:
            relations.fill(course_of_units(key.course_id, {unit: {"a", "b"}}))
            ids = (key.user_id, key.course_id, key.batch_id)
            write(connected, ENROLMENT, [(*ids, 1, None, 1, {"a": 2, "b": 1}, True)])
            write(connected, CONSUMPTION, [(*ids, "a", 2), (*ids, "b", 1)])
            for activity in (key.course_id, unit):
                write(connected, AGGREGATE, [({"completedCount": 1.0}, "Course", activity, key.user_id, "cb:batch")])
        settings = {
            "LMS_CASSANDRA_PORT": str(ports.cassandra),
            "LMS_CASSANDRA_KEYSPACE": keyspace,
            "REDIS_PORT": str(ports.redis),
            "REDIS_DATABASE_RELATIONCACHE_ID": "11",
        }
        return Moving(key, settings, keyspace, tmp_path)

    return make


def test_what_only_moved_during_the_scan_is_not_found(moving: Callable[[], Moving], ports: Ports) -> None:
    where = moving()
    ids = (where.key.user_id, where.key.course_id, where.key.batch_id)
    with reader_of(where.settings, where.folder) as reader:
        (spilled,) = reader.answers(Spill(WHOLE, "counts"))
        assert isinstance(spilled, Done)
        # the learner completes, and everything about it is written, after the aggregates were read
        with tables(ports, where.keyspace) as connected:
            write(connected, CONSUMPTION, [(*ids, "b", 2)])
            write(connected, ENROLMENT, [(*ids, 2, 1_700_000_000_000, 2, {"a": 2, "b": 2}, True)])
            for activity in (where.key.course_id, f"{where.key.course_id}_unit"):
                count = {"completedCount": 2.0}
                write(connected, AGGREGATE, [(count, "Course", activity, where.key.user_id, "cb:batch")])
        looked, done = reader.answers(Look(WHOLE, spilled.files))
    assert looked == Slice(WHOLE, 1, (), ())
    assert done == Done()


def test_what_is_stuck_is_told_as_it_is_when_it_is_given_out(moving: Callable[[], Moving], ports: Ports) -> None:
    where = moving()
    with tables(ports, where.keyspace) as connected:
        write(connected, CONSUMPTION, [(where.key.user_id, where.key.course_id, where.key.batch_id, "b", 2)])
    with reader_of(where.settings, where.folder) as reader:
        (spilled,) = reader.answers(Spill(WHOLE, "counts"))
        assert isinstance(spilled, Done)
        looked, _ = reader.answers(Look(WHOLE, spilled.files))
    assert isinstance(looked, Slice)
    (found,) = looked.found
    assert isinstance(found, Found)
    assert [
        (it.cell.value, it.activity_id, it.before, it.after) for it in found.changes if it.cell != "completedon"
    ] == [
        ("status", "", 1, 2),
        ("progress", "", 1, 2),
        ("contentstatus", "", {"a": 2, "b": 1}, {"a": 2, "b": 2}),
        ("completedCount", where.key.course_id, 1.0, 2.0),
        ("completedCount", f"{where.key.course_id}_unit", 1.0, 2.0),
    ]
