"""The report of shadow mode on a real Redis: counted once, bounded, and forgotten when told to."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import redis

from ledger.comparisons import MOST_KEPT, Comparisons
from ledger.connection import LedgerConfig
from ledger.ledger import Ledger
from reconciliation.errors import LedgerUnavailable
from reconciliation.model import EnrolmentKey, Origin, Record, SyncRequest
from reconciliation.shadow import Comparison, Difference, Kind

KEY = EnrolmentKey('us"er\n', "курс", "batch")
PROGRESS = Difference(Kind.PROGRESS, "2", "1")
UNIT = Difference(Kind.UNIT_AGGREGATE, "2.0", "none", "unit")


@dataclass
class Clock:
    now_ms: int = 5000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def config(config: LedgerConfig) -> LedgerConfig:
    return replace(config, group_id=f"{config.group_id}-shadow", max_open=10_000, lease=60, sweep_after=15)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def report(config: LedgerConfig, clock: Clock) -> Iterator[Comparisons]:
    made = Comparisons(config, clock)
    yield made
    made.close()


@pytest.fixture
def open_entry(config: LedgerConfig) -> Iterator[Any]:
    """Accepts a request, so that its entry is open; gives its id."""
    ledger = Ledger(config)
    offsets = iter(range(100_000))

    def accept() -> str:
        offset = next(offsets)
        record = Record(Origin("topic", 0, offset, 1000), b"key", b"{}")
        entry_id = f"entry-{offset}"
        ledger.accept([SyncRequest(entry_id, replace(KEY, user_id=f"user-{offset}"), record)])
        return entry_id

    yield accept
    ledger.close()


def test_an_empty_report_says_so(report: Comparisons) -> None:
    found = report.read()
    assert (found.since_ms, found.latest_ms, found.compared, found.differences) == (None, None, 0, ())
    assert set(found.kinds.values()) == {0}
    assert not report.clear()


def test_each_outcome_is_counted_and_each_difference_kept(report: Comparisons, open_entry: Any) -> None:
    comparisons = [
        Comparison(open_entry(), KEY),
        Comparison(open_entry(), KEY, moved_on=True),
        Comparison(open_entry(), KEY, (PROGRESS, UNIT, UNIT)),
        Comparison(open_entry(), KEY, (PROGRESS,), answered=False),
        Comparison(open_entry(), KEY, (Difference(Kind.RELATIONS_MISSING, "a comparison", "why"),)),
    ]
    assert report.record(comparisons) == [True] * 5
    report.record_invalid(3)

    found = report.read()
    assert found.since_ms is not None
    assert found.latest_ms is not None
    assert (found.compared, found.agreed, found.moved_on, found.differing, found.unanswered, found.invalid) == (
        4,
        1,
        1,
        2,
        1,
        3,
    )
    counted = {kind: count for kind, count in found.kinds.items() if count}
    assert counted == {Kind.PROGRESS: 2, Kind.UNIT_AGGREGATE: 2, Kind.RELATIONS_MISSING: 1}
    # the latest first
    assert [it.kind for it in found.differences] == [
        "relations-missing",
        "progress",
        "unit-aggregate",
        "unit-aggregate",
        "progress",
    ]
    assert (found.differences[1].user_id, found.differences[1].course_id, found.differences[1].batch_id) == (
        KEY.user_id,
        KEY.course_id,
        KEY.batch_id,
    )
    assert [it.answered for it in found.differences] == [True, False, True, True, True]
    assert {it.at_ms for it in found.differences} == {5000}
    assert report.clear()
    assert report.read().compared == 0


def test_an_entry_counts_once_however_often_it_is_compared(report: Comparisons, open_entry: Any) -> None:
    again = Comparison(open_entry(), KEY, (PROGRESS,))
    assert report.record([again]) == [True]
    assert report.record([again, Comparison(open_entry(), KEY)]) == [False, True]
    # one that is settled was counted by whoever settled it
    assert report.record([Comparison("gone", KEY, (PROGRESS,))]) == [False]
    found = report.read()
    assert (found.compared, found.kinds[Kind.PROGRESS], len(found.differences)) == (2, 1, 1)


def test_the_report_is_bounded(report: Comparisons, open_entry: Any, config: LedgerConfig) -> None:
    units = tuple(Difference(Kind.UNIT_AGGREGATE, "1.0", "none", f"unit{number}") for number in range(300))
    for _ in range(60):
        report.record([Comparison(open_entry(), KEY, units)])
    hostile = replace(KEY, user_id="u" * 60_000)
    report.record([Comparison(open_entry(), hostile, (PROGRESS,))])

    found = report.read()
    assert found.kinds[Kind.UNIT_AGGREGATE] == 60 * 300
    assert len(found.differences) == MOST_KEPT
    assert len(found.differences[0].user_id) < 600
    # of one request no more than 20
    assert [it.activity_id for it in found.differences[1:22]] == [
        *(f"unit{number}" for number in reversed(range(20))),
        "unit19",
    ]
    client: Any = redis.Redis.from_url(config.url)
    key = f"enrolment-reconciliation:{{{config.group_id}}}:shadow:differences"
    assert client.llen(key) == MOST_KEPT
    assert max(len(text) for text in client.lrange(key, 0, -1)) < 5000
    assert json.loads(client.lindex(key, 0))[1] == "progress"
    client.close()


def test_a_redis_that_is_away_is_said_to_be(config: LedgerConfig, clock: Clock) -> None:
    away = Comparisons(replace(config, url="redis://127.0.0.1:1/0", timeout=0.2), clock)
    with pytest.raises(LedgerUnavailable):
        away.record([Comparison("entry", KEY)])
    with pytest.raises(LedgerUnavailable):
        away.read()
    with pytest.raises(LedgerUnavailable):
        away.clear()
    away.close()
