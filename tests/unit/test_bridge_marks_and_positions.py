"""Where a partition begins, what is committed with which mark, and the way back after the ledger forgot."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.marks import CommitMark, decode_mark
from bridge.positions import Bounds, Commit, Committed, Positions, is_to_rewind
from ledger.ledger import Identity

HERE = Identity("epoch", "run")
RESTARTED = Identity("epoch", "another run")
EMPTIED = Identity("another epoch", "run")


def begun(
    committed: int | None, mark: CommitMark | None, identity: Identity = HERE, first: int = 0, end: int = 100
) -> tuple[Positions, int]:
    positions = Positions()
    metadata = None if mark is None else mark.encode()
    return positions, positions.begin(0, Committed(committed, metadata), identity, Bounds(first, end))


@given(
    st.builds(
        CommitMark,
        st.builds(Identity, st.text(), st.text(), st.text()),
        st.none() | st.integers(0),
        st.none() | st.integers(0),
    )
)
def test_a_mark_is_read_as_it_was_written(mark: CommitMark) -> None:
    assert decode_mark(mark.encode()) == mark


@pytest.mark.parametrize(
    "metadata", [None, "", "{", "[]", "null", "flink", '{"v":2}', '{"v":1}', '{"v":1,"epoch":1,"run":"r","oldest":2}']
)
def test_anything_else_is_no_mark(metadata: str | None) -> None:
    assert decode_mark(metadata) is None


@pytest.mark.parametrize("first", [0, 40])
def test_a_group_that_never_committed_begins_at_the_first_record(first: int) -> None:
    positions, start = begun(None, None, first=first)
    assert start == first
    assert not positions.goes_back(0)
    assert positions.due(HERE, {0: None}, renew=True) == []


def test_what_kafka_has_let_go_of_is_passed_over() -> None:
    assert begun(50, CommitMark(HERE, 30), first=60)[1] == 60
    assert begun(50, CommitMark(HERE, 30), EMPTIED, first=40)[1] == 40


def test_a_topic_made_anew_is_read_from_its_first_record_and_committed_again() -> None:
    positions, start = begun(150, CommitMark(HERE, 120), end=100)
    assert start == 0
    assert not positions.goes_back(0)
    positions.advance({0: 1})
    assert positions.due(HERE, {0: None}, renew=False) == [Commit(0, 1, CommitMark(HERE, None), by_name=True)]


@pytest.mark.parametrize("mark", [None, CommitMark(HERE, 3)])
def test_the_same_ledger_goes_on_where_it_was(mark: CommitMark | None) -> None:
    positions, start = begun(50, mark)
    assert start == 50
    assert not positions.is_repeated(0, 50)
    assert not positions.is_behind(HERE)


def test_an_order_to_go_back_is_carried_out_once() -> None:
    ordered = Identity("epoch", "run", "order")
    before = Committed(50, CommitMark(HERE, 45).encode())
    assert is_to_rewind(before, ordered)
    assert is_to_rewind(Committed(50, "somebody else's"), ordered)
    assert not is_to_rewind(before, HERE)
    positions = Positions()
    assert positions.begin(0, before, ordered, Bounds(0, 100), rewound=10) == 10
    assert positions.goes_back(0)
    assert [positions.is_repeated(0, offset) for offset in (10, 99, 100)] == [True, True, False]
    positions.advance({0: 50})
    (commit,) = positions.due(ordered, {0: None}, renew=False)
    assert commit == Commit(0, 50, CommitMark(ordered, None, 100), by_name=True)
    assert not is_to_rewind(Committed(50, commit.mark.encode()), ordered)


def test_an_order_carried_out_where_no_mark_of_ours_stands_is_noted_at_once() -> None:
    ordered = Identity("epoch", "run", "order")
    positions = Positions()
    assert positions.begin(0, Committed(50, None), ordered, Bounds(0, 50), rewound=10) == 10
    positions.advance({0: 50})
    assert positions.is_behind(ordered)
    (commit,) = positions.due(ordered, {0: None}, renew=False)
    assert commit == Commit(0, 50, CommitMark(ordered, None), by_name=True)
    assert not is_to_rewind(Committed(50, commit.mark.encode()), ordered)


def test_an_order_to_go_back_never_skips_anything() -> None:
    ordered = Identity("epoch", "run", "order")
    positions = Positions()
    before = Committed(50, CommitMark(HERE, 45).encode())
    assert positions.begin(0, before, ordered, Bounds(0, 100), rewound=80) == 50
    assert positions.begin(0, before, ordered, Bounds(0, 100), rewound=None) == 50
    assert positions.begin(0, before, Identity("another", "run", "order"), Bounds(0, 100), rewound=80) == 45
    assert positions.begin(0, Committed(None, None), ordered, Bounds(20, 100), rewound=80) == 20


@pytest.mark.parametrize("identity", [RESTARTED, EMPTIED])
def test_another_ledger_goes_back_to_what_was_open(identity: Identity) -> None:
    positions, start = begun(50, CommitMark(HERE, 30), identity)
    assert start == 30
    assert positions.goes_back(0)
    assert [positions.is_repeated(0, offset) for offset in (30, 50, 99, 100)] == [True, True, True, False]


def test_another_ledger_with_nothing_open_stays_and_is_marked_at_once() -> None:
    positions, start = begun(50, CommitMark(HERE, None), EMPTIED)
    assert start == 50
    assert not positions.goes_back(0)
    assert positions.is_behind(EMPTIED)
    assert positions.due(EMPTIED, {0: None}, renew=False) == [
        Commit(0, 50, CommitMark(EMPTIED, None, 100), by_name=True)
    ]


def test_nothing_is_committed_on_the_way_back_before_all_is_there_again() -> None:
    positions, _ = begun(50, CommitMark(HERE, 30), EMPTIED)
    for offset in (31, 40, 49):
        positions.advance({0: offset})
        assert not positions.is_behind(EMPTIED)
        assert positions.due(EMPTIED, {0: 30}, renew=True) == []
    positions.advance({0: 50})
    (commit,) = positions.due(EMPTIED, {0: 30}, renew=False)
    assert commit == Commit(0, 50, CommitMark(EMPTIED, 30, 100), by_name=True)
    positions.committed([commit])
    assert not positions.is_behind(EMPTIED)


def test_progress_is_committed_once_and_tried_again_until_it_is_confirmed() -> None:
    positions, _ = begun(50, CommitMark(HERE, None))
    positions.advance({0: 60})
    (commit,) = positions.due(HERE, {0: 55}, renew=False)
    assert commit == Commit(0, 60, CommitMark(HERE, 55), by_name=False)
    assert positions.due(HERE, {0: 56}, renew=False) == [Commit(0, 60, CommitMark(HERE, 56), by_name=False)]
    positions.committed([commit])
    assert positions.due(HERE, {0: 55}, renew=True) == []


def test_an_idle_partition_renews_its_mark_only_when_asked_to() -> None:
    positions, _ = begun(50, CommitMark(HERE, 40))
    assert positions.due(HERE, {0: 45}, renew=False) == []
    assert positions.due(HERE, {0: 45}, renew=True) == [Commit(0, 50, CommitMark(HERE, 45), by_name=True)]


def test_repeats_are_remembered_across_commits_until_they_are_passed() -> None:
    positions, _ = begun(50, CommitMark(HERE, None, repeated_below=70))
    assert positions.is_repeated(0, 69)
    positions.advance({0: 60})
    assert positions.due(HERE, {0: 50}, renew=False)[0].mark.repeated_below == 70
    positions.advance({0: 70})
    assert positions.due(HERE, {0: 50}, renew=False)[0].mark.repeated_below is None


def test_a_partition_that_left_is_forgotten() -> None:
    positions, _ = begun(50, CommitMark(HERE, None))
    positions.advance({0: 60})
    positions.drop([0])
    positions.advance({0: 61})
    assert positions.due(HERE, {0: None}, renew=True) == []
    assert positions.partitions() == []
    assert not positions.is_repeated(0, 1)
