"""Looks at the ledger that change nothing, on a real Redis."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import redis

from ledger.connection import LedgerConfig, LedgerConnection
from ledger.entries import RetryLater, Settlement, Spends, Ticket
from ledger.ledger import Ledger
from ledger.operations import Operations
from ledger.reading import LedgerReader
from reconciliation.errors import LedgerUnavailable
from reconciliation.model import Completion, Debt, EnrolmentKey, FinalFailure, Origin, Record, SyncRequest
from reconciliation.requests import request_id

ALICE = EnrolmentKey("alice", "course", "batch")
BOB = EnrolmentKey("bob", "course", "batch")


@pytest.fixture
def config(config: LedgerConfig) -> LedgerConfig:
    return replace(config, max_open=100, lease=60, sweep_after=15)


@pytest.fixture
def ledger(config: LedgerConfig) -> Iterator[Ledger]:
    made = Ledger(config, lambda: 1_000_000)
    yield made
    made.close()


@pytest.fixture
def reader(config: LedgerConfig) -> Iterator[LedgerReader]:
    made = LedgerReader(config)
    yield made
    made.close()


@pytest.fixture
def operations(config: LedgerConfig) -> Iterator[Operations]:
    made = Operations(LedgerConnection(config, lambda: 1_000_000))
    yield made
    made.close()


def request(offset: int, enrolment: EnrolmentKey = ALICE, *, repeated: bool = False) -> SyncRequest:
    origin = Origin("topic", 1, offset, 500 + offset)
    return SyncRequest(request_id(origin), enrolment, Record(origin, b"key", b"{}"), repeated)


def test_an_empty_ledger_has_no_life_and_nothing_open(reader: LedgerReader, ledger: Ledger, redis_url: str) -> None:
    assert reader.life() is None
    assert reader.open_offsets("topic", 1, 0, 100) == set()
    assert reader.entries([]) == {}
    assert reader.entries(["x"]) == {}
    assert reader.joined(ALICE, Origin("topic", 1, 0, 0)) is None
    # it made nothing either
    assert list(redis.Redis.from_url(redis_url).scan_iter(reader._prefix + "*")) == []
    identity = ledger.verify()
    life = reader.life()
    assert life is not None
    assert life.is_same_life(identity)


def test_what_is_open_is_told_with_its_state(reader: LedgerReader, ledger: Ledger) -> None:
    first, second, other = request(3), request(4), request(9, BOB, repeated=True)
    ledger.accept([first, second, other])
    assert reader.open_offsets("topic", 1, 0, 100) == {3, 4, 9}
    assert reader.open_offsets("topic", 1, 4, 8) == {4}
    assert reader.open_offsets("topic", 0, 0, 100) == set()
    entries = reader.entries([first.entry_id, second.entry_id, other.entry_id])
    # the second joined the first
    assert set(entries) == {first.entry_id, other.entry_id}
    entry = entries[first.entry_id]
    assert (entry.state, entry.attempts, entry.waits, entry.crashes) == ("waiting", 0, 0, 0)
    assert (entry.origin, entry.reason, entry.repeated) == (first.record.origin, "", False)
    assert (entry.accepted_ms, entry.due_ms) == (1_000_000, 1_015_000)
    assert (entry.owed_ms, entry.failure) == (None, None)
    assert entries[other.entry_id].repeated
    assert reader.joined(ALICE, second.record.origin) == entry
    assert reader.joined(BOB, second.record.origin) is None
    assert reader.joined(ALICE, Origin("topic", 0, 4, 0)) is None

    (claim,) = ledger.claim([Ticket(first.entry_id, 1)], "token")
    assert reader.entries([first.entry_id])[first.entry_id].state == "claimed"
    assert reader.joined(ALICE, second.record.origin) is not None
    ledger.owe([Debt(claim.entry_id, Completion(ALICE, 777), "mid")], "token")
    ledger.fail([(claim.entry_id, FinalFailure("X", "why", 2, 5))], "token")
    entry = reader.entries([first.entry_id])[first.entry_id]
    assert (entry.owed_ms, entry.failure) == (777, FinalFailure("X", "why", 2, 5))
    ledger.retry([RetryLater(first.entry_id, 5_000, Spends.ATTEMPT, "because")], "token")
    entry = reader.entries([first.entry_id])[first.entry_id]
    assert (entry.state, entry.attempts, entry.reason, entry.due_ms) == ("waiting", 1, "because", 1_005_000)


def test_an_enrolment_s_entries_are_found_and_pauses_are_told(
    reader: LedgerReader, ledger: Ledger, operations: Operations
) -> None:
    first, second = request(3), request(4)
    ledger.accept([first, second, request(9, BOB)])
    operations.pause(["course:course"], "upgrade")
    (entry,) = reader.of_enrolment(ALICE)
    assert (entry.entry_id, entry.clicks, entry.paused) == (first.entry_id, 2, "course course is paused")
    operations.end_pauses(["course:course"])
    ledger.claim([Ticket(first.entry_id, 1)], "token")
    later = request(5)
    ledger.accept([later])
    running, waiting = reader.of_enrolment(ALICE)
    assert (running.entry_id, running.state) == (first.entry_id, "claimed")
    assert (waiting.entry_id, waiting.state, waiting.clicks) == (later.entry_id, "waiting", 1)
    assert reader.of_enrolment(EnrolmentKey("carol", "course", "batch")) == []


def test_a_paid_announcement_is_remembered(reader: LedgerReader, ledger: Ledger) -> None:
    asked = request(3)
    ledger.accept([asked])
    ledger.claim([Ticket(asked.entry_id, 1)], "token")
    assert not reader.is_paid("mid")
    ledger.settle([Settlement(asked.entry_id, "mid")], "token")
    assert reader.is_paid("mid")


def test_an_entry_that_another_release_wrote_is_told_as_far_as_it_can_be_read(
    reader: LedgerReader, redis_url: str
) -> None:
    fields = {
        "version": 9,
        "state": "resting\x00",
        "attempts": "many",
        "request": "{}",
        "failure": "?",
        "reason": b"\xff",
    }
    with redis.Redis.from_url(redis_url) as server:
        server.hset(reader._prefix + "entry:x", mapping=fields)
    entry = reader.entries(["x"])["x"]
    assert (entry.state, entry.attempts, entry.origin, entry.failure) == ("resting\x00", 0, None, None)
    assert entry.reason == "\ufffd"


def test_a_ledger_that_is_away_is_told(config: LedgerConfig) -> None:
    reader = LedgerReader(
        LedgerConfig(**{name: getattr(config, name) for name in config.__slots__} | {"url": "redis://127.0.0.1:1/0"})
    )
    for ask in (reader.life, lambda: reader.entries(["x"]), lambda: reader.open_offsets("t", 0, 0, 1)):
        with pytest.raises(LedgerUnavailable):
            ask()
    reader.close()
