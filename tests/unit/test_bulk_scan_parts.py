"""The pure parts of a scan: the ring, the join, raw maps, files of aggregates, patience and pace."""

import struct
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from cassandra.cqltypes import lookup_casstype
from hypothesis import given
from hypothesis import strategies as st

from bulk.merging import joined
from bulk.patience import Patience, ScanRate
from bulk.raw_maps import double_of, int_map
from bulk.ring import FIRST, LAST, MOST_RANGES, estimated_partitions, part_of, parted, range_count, remaining, token_of
from bulk.spilling import SpilledCounts, SpillWriter
from reconciliation.errors import RequestFailed, ScanFailed, StoreUnavailable
from reconciliation.model import EnrolmentKey

TOKENS = st.integers(FIRST + 1, LAST)
COUNTS = st.sampled_from([1, 2, 64, MOST_RANGES])
NAMES = st.text(st.characters(codec="utf-8"), max_size=8)


@given(COUNTS)
def test_the_ranges_cover_the_ring_without_a_gap(count: int) -> None:
    ranges = parted(count)
    assert len(ranges) == count
    assert (ranges[0].after, ranges[-1].until) == (FIRST, LAST)
    assert all(one.until == two.after for one, two in pairwise(ranges))


@given(TOKENS, COUNTS)
def test_a_token_lies_in_its_part(token: int, count: int) -> None:
    tokens = parted(count)[part_of(token, count)]
    assert tokens.after < token <= tokens.until


@given(COUNTS)
def test_a_ranges_last_token_is_its_own(count: int) -> None:
    assert [part_of(tokens.until, count) for tokens in parted(count)] == list(range(count))
    assert part_of(FIRST + 1, count) == 0


@given(COUNTS, TOKENS)
def test_what_remains_begins_after_the_last_token(count: int, start_after: int) -> None:
    left = remaining(parted(count), start_after)
    assert all(tokens.after < tokens.until for tokens in left)
    assert not left or (left[0].after, left[-1].until) == (start_after, LAST)
    assert bool(left) is (start_after < LAST)


def test_the_ring_is_parted_by_the_number_of_learners() -> None:
    assert [range_count(learners) for learners in (None, 0, 200_000, 1_000_000, 10**9)] == [64, 64, 128, 512, 1024]


def test_an_estimate_counts_the_ranges_of_other_nodes_too() -> None:
    assert estimated_partitions([]) is None
    assert estimated_partitions([(FIRST, LAST, 7)]) == 7
    assert estimated_partitions([(0, 2**62, 10)]) == 40
    # a range that runs over the ring's end
    assert estimated_partitions([(2**62, -(2**62), 10)]) == 20


def naive_join(
    enrolments: list[tuple[str, str, str, int]], consumption: list[tuple[str, str, str, str, int | None]]
) -> list[object]:
    return [(token_of(row[0]), row, [it[3:] for it in consumption if it[:3] == row[:3]]) for row in enrolments]


def place(row: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    return token_of(row[0]), row[:4]


@given(st.integers(0, 2**32))
def test_enrolments_and_consumption_are_joined(seed: int) -> None:
    random = Random(seed)

    def key() -> tuple[str, str, str]:
        return f"user{random.randrange(5)}", f"course{random.randrange(3)}", f"batch{random.randrange(2)}"

    enrolments = sorted({key() for _ in range(random.randrange(12))}, key=place)
    rows = [(*it, number) for number, it in enumerate(enrolments)]
    contents = {(*key(), f"content{random.randrange(4)}"): random.choice([None, 1, 2]) for _ in range(20)}
    consumption = [(*it, contents[it]) for it in sorted(contents, key=place)]
    assert list(joined(rows, consumption, token_of, 100)) == naive_join(rows, consumption)


def test_an_enrolment_with_too_many_contents_is_told_and_the_next_is_whole() -> None:
    rows = [("user", "course", "batch1"), ("user", "course", "batch2")]
    consumption = [("user", "course", "batch1", str(number), 2) for number in range(5)]
    consumption.append(("user", "course", "batch2", "content", 2))
    found = [contents for _, _, contents in joined(rows, consumption, token_of, 4)]
    assert found == [None, [("content", 2)]]


@given(st.dictionaries(NAMES, st.integers(-(2**31), 2**31 - 1)))
def test_raw_ints_are_read_as_the_driver_reads_them(values: dict[str, int]) -> None:
    raw = lookup_casstype("MapType(UTF8Type, Int32Type)").serialize(values, 4)
    assert int_map(raw) == values
    assert int_map(values) == values
    assert int_map(None) is None


@given(st.dictionaries(NAMES, st.floats(allow_nan=False)), NAMES)
def test_a_raw_double_is_read_as_the_driver_reads_it(values: dict[str, float], wanted: str) -> None:
    raw = lookup_casstype("MapType(UTF8Type, DoubleType)").serialize(values, 4)
    for name in (wanted, *values):
        assert double_of(raw, name) == values.get(name) == double_of(values, name)


def test_a_name_within_another_entry_is_no_entry() -> None:
    # a value of another entry that looks like the wanted one
    (inside,) = struct.unpack(">d", b"\x00\x00\x00\x01a\x00\x00\x00")
    raw = lookup_casstype("MapType(UTF8Type, DoubleType)").serialize({"b": inside}, 4)
    assert double_of(raw, "a") is None


@given(st.integers(0, 2**32))
def test_counts_come_back_from_the_files(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    random, folder, secret = Random(seed), tmp_path_factory.mktemp("counts"), b"s" * 32
    start_after = random.choice([None, random.randrange(FIRST, LAST)])
    rows = {
        (f"act{random.randrange(9)}", f"user{random.randrange(40)}", f"cb:batch{random.randrange(3)}"): random.random()
        for _ in range(100)
    }
    files: list[Path] = []
    for number in range(3):
        writer = SpillWriter(folder, f"counts-{number}", secret, 64, start_after)
        for key in list(rows)[number::3]:
            writer.add(*key, rows[key])
        files += writer.close()
    counts = SpilledCounts(files, secret, 64)
    for (activity, user, context), count in rows.items():
        key = EnrolmentKey(user, "course", context.removeprefix("cb:"))
        held = start_after is None or token_of(user) > start_after
        expected = {activity: count} if held else {}
        assert counts.counts(key, [activity, "another"]) == expected
        assert counts.counts(EnrolmentKey(user, "course", "another"), [activity]) == {}


def test_no_learners_id_goes_to_the_disk(tmp_path: Path) -> None:
    writer = SpillWriter(tmp_path, "counts", b"s" * 32, 64, None)
    writer.add("do_course", "a-learner", "cb:batch", 2.0)
    (file,) = writer.close()
    assert b"a-learner" not in file.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_a_folder_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    writer = SpillWriter(tmp_path / "gone", "counts", b"s" * 32, 64, None)
    writer.add("do_course", "user", "cb:batch", 2.0)
    with pytest.raises(ScanFailed, match=r"gone.*TMPDIR"):
        writer.close()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def test_patience_waits_longer_and_longer_and_tells_once() -> None:
    clock, told = Clock(), list[str]()
    answers = iter([StoreUnavailable("away"), StoreUnavailable("away"), StoreUnavailable("away"), None])

    def attempt() -> str:
        answer = next(answers)
        if answer is not None:
            raise answer
        return "rows"

    assert Patience(100, told.append, clock.pause, clock).insist("a table", attempt) == "rows"
    assert clock.pauses == [0.5, 1.0, 2.0]
    assert told == ["waiting for Cassandra: a table: away"]


def test_patience_ends() -> None:
    clock = Clock()

    def attempt() -> None:
        raise StoreUnavailable("away")

    with pytest.raises(ScanFailed, match="a table: tried for 30 s: away"):
        Patience(30, lambda _: None, clock.pause, clock).insist("a table", attempt)
    assert 30 <= clock.now <= 40


def test_what_no_wait_cures_is_not_waited_for() -> None:
    clock = Clock()

    def attempt() -> None:
        raise RequestFailed("no such table")

    with pytest.raises(ScanFailed, match="a table: no such table"):
        Patience(30, lambda _: None, clock.pause, clock).insist("a table", attempt)
    assert clock.pauses == []


def test_a_pace_is_kept_and_nothing_is_saved_up() -> None:
    clock = Clock()
    pace = ScanRate(100, clock.pause, clock)
    for _ in range(10):
        pace.spend(50)
    assert clock.now == pytest.approx(4.5)
    clock.now += 1000
    pace.spend(100)
    pace.spend(100)
    assert clock.now == pytest.approx(1005.5)


def test_no_bound_waits_for_nothing() -> None:
    clock = Clock()
    pace = ScanRate(None, clock.pause, clock)
    pace.spend(10**9)
    assert (clock.pauses, pace.portion(500)) == ([], 500)
    assert (ScanRate(20.5).portion(500), ScanRate(0.1).portion(500)) == (20, 1)
