"""What operators see of a ledger on a real Redis, and how a learner is forgotten."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from bulk.model import Selection
from bulk.order import Order, encode_order
from bulk.runs import Run, RunRefused, RunState, RunStore
from ledger.entries import FailureStatus, RetryLater, Settlement, Spends, Ticket, enrolment_field
from ledger.ledger import Ledger
from ledger.open_entries import EntryState, OpenEntry, Survey
from ledger.operations import PAGE, Operations
from ledger.pauses import EVERYTHING, course_scope
from reconciliation.errors import LedgerUnavailable
from reconciliation.model import Completion, Debt, DebtStatus, EnrolmentKey, FinalFailure
from tests.ledger.steps import ALICE, BOB, LEASE_MS, WAIT_MS, Clock, claim_one, request

CAROL = EnrolmentKey("carol", "other", "other-batch")
HOSTILE = EnrolmentKey('a"\n\x1b[2J*?[]', "курс", "b,]")


def by_id(operations: Operations) -> dict[str, OpenEntry]:
    return {entry.entry_id: entry for entry in operations.entries()}


def forget(operations: Operations, user_id: str) -> int:
    entries, named = operations.entries_of(user_id)
    return sum(operations.forget(dict.fromkeys([*((it.entry_id, it.enrolment) for it in entries), *named])))


def left(ledger: Ledger) -> dict[str, Any]:
    """Give everything that the ledger holds, by key."""
    client: Any = ledger._redis
    found: dict[str, Any] = {}
    for key in client.scan_iter(f"{ledger._prefix}*", count=1000):
        kind = client.type(key)
        read = {b"hash": client.hgetall, b"zset": lambda it: client.zrange(it, 0, -1), b"string": client.get}
        read[b"list"] = lambda it: client.lrange(it, 0, -1)
        if kind == b"none":
            # the count of a second's sweeps ends by itself
            continue
        found[key.decode().removeprefix(ledger._prefix)] = read[kind](key)
    return found


def names_in(ledger: Ledger) -> bytes:
    """Give every key and everything in it, one after the other."""
    client: Any = ledger._redis
    parts: list[bytes] = []
    for key in client.scan_iter(f"{ledger._prefix}*", count=1000):
        content = left(ledger)[key.decode().removeprefix(ledger._prefix)]
        flat = [content] if isinstance(content, bytes) else list(content)
        flat += list(content.values()) if isinstance(content, dict) else []
        parts += [key, *flat]
    return b"\0".join(parts)


def test_every_state_is_told_apart(ledger: Ledger, operations: Operations, clock: Clock) -> None:
    learners = [EnrolmentKey(f"learner-{n}", "course", "batch") for n in range(6)]
    tickets = ledger.accept([request(n, learner) for n, learner in enumerate(learners)]).tickets
    ledger.accept([request(10, learners[0]), request(11, CAROL)])
    ledger.claim(tickets[1:5], "token")
    ledger.retry([RetryLater("entry-2", 7000, Spends.ATTEMPT, "RELATIONS_MISSING: none: there")], "token")
    ledger.owe([Debt("entry-3", Completion(learners[3], 5), "mid")], "token")
    ledger.retry([RetryLater("entry-3", 8000, Spends.WAIT, "PUBLISH_FAILED: Kafka")], "token")
    assert ledger.fail([("entry-4", FinalFailure("CODE", "te:xt", 1, 2))], "token") == [FailureStatus.OWED]
    ledger.retry([RetryLater("entry-4", 9000, Spends.CRASH, "unsent")], "token")
    operations.pause([course_scope("other")], "why")
    now = clock.now_ms
    seen = by_id(operations)
    assert {name: (it.state, it.cause, it.next_ms) for name, it in seen.items()} == {
        "entry-0": (EntryState.WAITING, "", now + WAIT_MS),
        "entry-1": (EntryState.RUNNING, "", None),
        "entry-2": (EntryState.RETRYING, "RELATIONS_MISSING", now + 7000),
        "entry-3": (EntryState.OWING, "PUBLISH_FAILED", now + 8000),
        "entry-4": (EntryState.GIVEN_UP, "CODE", now + 9000),
        "entry-5": (EntryState.WAITING, "", now + WAIT_MS),
        "entry-11": (EntryState.PAUSED, "course other is paused", None),
    }
    assert (seen["entry-0"].collapsed, seen["entry-2"].attempts, seen["entry-3"].waits) == (1, 1, 1)
    assert (seen["entry-4"].crashes, seen["entry-4"].reason, seen["entry-3"].owes) == (1, "CODE: te:xt", True)


def test_what_is_shelved_is_seen_and_so_is_what_is_let_go(ledger: Ledger, operations: Operations) -> None:
    operations.pause([course_scope("course")], "")
    ledger.accept([request(1), request(2, BOB)])
    assert {it.state for it in operations.entries()} == {EntryState.PAUSED}
    operations.end_pauses([course_scope("course")])
    assert [it.state for it in operations.entries()] == [EntryState.WAITING] * 2
    ledger.sweep(10)
    assert [it.state for it in operations.entries()] == [EntryState.WAITING] * 2


def test_a_request_that_waits_for_a_running_attempt_says_so(ledger: Ledger, operations: Operations) -> None:
    claim_one(ledger, ledger.accept([request(1)]).tickets[0])
    ledger.claim(ledger.accept([request(2)]).tickets, "other")
    assert "an attempt of the same enrolment runs" in by_id(operations)["entry-2"].cause


def test_looking_walks_in_pages_and_changes_nothing(open_ledger: Callable[..., Ledger], operations: Operations) -> None:
    ledger = open_ledger(max_open=3 * PAGE)
    many = [request(n, EnrolmentKey(f"learner-{n}", "course", "batch")) for n in range(2 * PAGE + 1)]
    ledger.accept(many)
    before = left(ledger)
    assert {it.entry_id for it in operations.entries()} == {it.entry_id for it in many}
    assert left(ledger) == before


def test_an_entry_that_can_not_be_read_hides_no_other(ledger: Ledger, operations: Operations) -> None:
    ledger.accept([request(1), request(2, BOB)])
    ledger._redis.hset(f"{ledger._prefix}entry:entry-1", "enrolment", "{")
    assert list(by_id(operations)) == ["entry-2"]


def test_a_survey_adds_up_and_keeps_the_oldest(ledger: Ledger, operations: Operations, clock: Clock) -> None:
    for n in (2, 0, 1, 3):
        ledger.accept([request(n, EnrolmentKey(f"learner-{n}", "course", "batch"))])
        clock.now_ms += 1000
    ledger.accept([request(9, EnrolmentKey("learner-1", "course", "batch"))])
    survey = Survey(limit=2)
    for entry in operations.entries():
        survey.add(entry)
    assert (survey.entries, survey.requests, survey.oldest_ms) == (4, 5, 1_000_000)
    assert [entry.entry_id for entry in survey.oldest()] == ["entry-2", "entry-0"]
    assert survey.by_cause == {(EntryState.WAITING, "course", ""): 4}
    assert survey.latest_next_ms == {(EntryState.WAITING, "course", ""): 1_003_000 + WAIT_MS}
    assert Survey(limit=0).oldest() == []


def test_the_age_of_the_oldest_is_known(ledger: Ledger, clock: Clock) -> None:
    assert ledger.oldest_open_ms() is None
    (first,) = ledger.accept([request(1)]).tickets
    clock.now_ms += 5000
    (second,) = ledger.accept([request(2, BOB)]).tickets
    assert ledger.oldest_open_ms() == 1_000_000
    claim_one(ledger, first)
    assert ledger.oldest_open_ms() == 1_000_000
    ledger.settle([Settlement("entry-1")], "token")
    assert ledger.oldest_open_ms() == 1_005_000
    claim_one(ledger, second)
    ledger.settle([Settlement("entry-2")], "token")
    assert ledger.oldest_open_ms() is None


def test_ages_outlive_a_release_that_does_not_know_them(ledger: Ledger, clock: Clock, redis_url: str) -> None:
    ledger.accept([request(1), request(2, BOB)])
    with redis.Redis.from_url(redis_url) as client:
        # it accepted the one without its age, and ended others without taking theirs away
        client.zrem(f"{ledger._prefix}ages", "entry-1")
        client.zadd(f"{ledger._prefix}ages", {f"gone-{n}": n for n in range(40)})
    assert ledger.oldest_open_ms() == 1_000_000
    clock.now_ms += WAIT_MS
    tickets = [swept.ticket for swept in ledger.sweep(10)]
    ledger.claim(tickets, "token")
    ledger.settle([Settlement("entry-2")], "token")
    assert ledger.oldest_open_ms() == 1_000_000
    ledger.settle([Settlement("entry-1")], "token")
    assert ledger.oldest_open_ms() is None
    assert set(left(ledger)) - {"swept"} == {"count"}


def test_an_entry_of_an_older_release_goes_on(ledger: Ledger, operations: Operations, redis_url: str) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    with redis.Redis.from_url(redis_url) as client:
        client.zrem(f"{ledger._prefix}ages", "entry-1")
    operations.pause([EVERYTHING], "")
    assert ledger.claim([ticket], "token") == []
    operations.end_pauses([EVERYTHING])
    (swept,) = ledger.sweep(10)
    claim_one(ledger, swept.ticket)
    assert ledger.settle([Settlement("entry-1")], "token") == [1]
    assert {name: value for name, value in left(ledger).items() if name != "swept"} == {"count": b"0"}


@pytest.mark.parametrize("learner", [ALICE, HOSTILE], ids=["plain", "hostile"])
@pytest.mark.parametrize(
    "state", ["waiting", "running", "retrying", "blocked", "collapsed", "shelved", "owing", "given up"]
)
def test_a_learner_is_forgotten_in_every_state(
    ledger: Ledger, operations: Operations, clock: Clock, state: str, learner: EnrolmentKey
) -> None:
    (other,) = ledger.accept([request(100, BOB)]).tickets
    (ticket,) = ledger.accept([request(1, learner)]).tickets
    count = 1
    match state:
        case "running":
            claim_one(ledger, ticket)
        case "retrying":
            claim_one(ledger, ticket)
            ledger.retry([RetryLater("entry-1", 5000, Spends.ATTEMPT, "why", "course:course")], "token")
        case "blocked":
            claim_one(ledger, ticket)
            ledger.claim(ledger.accept([request(2, learner)]).tickets, "second")
            count = 2
        case "collapsed":
            ledger.accept([request(2, learner), request(3, learner)])
            count = 3
        case "shelved":
            operations.pause([course_scope(learner.course_id)], "")
            assert ledger.claim([ticket], "token") == []
            ledger.accept([request(2, learner)])
            count = 2
        case "owing":
            claim_one(ledger, ticket)
            ledger.owe([Debt("entry-1", Completion(learner, 5), "mid")], "token")
            ledger.retry([RetryLater("entry-1", 5000, Spends.WAIT, "why")], "token")
        case "given up":
            claim_one(ledger, ticket)
            ledger.fail([("entry-1", FinalFailure("CODE", "text", 1, 2))], "token")
            ledger.retry([RetryLater("entry-1", 5000, Spends.WAIT, "why")], "token")
    assert forget(operations, learner.user_id) == count
    assert forget(operations, learner.user_id) == 0
    # nobody else was touched, and nothing names the learner any more
    assert ledger.open_count() == 1
    assert ledger.oldest_open("requests", 0) == 100
    assert enrolment_field(learner).encode() not in names_in(ledger)
    assert not {name for name in left(ledger) if name.startswith(("shelf:", "parked", "also:"))}
    operations.end_pauses([course_scope(learner.course_id)])
    for _ in range(3):
        clock.now_ms += LEASE_MS
        for swept in ledger.sweep(10):
            assert swept.ticket.entry_id == other.entry_id
            claim_one(ledger, swept.ticket, "next")
    ledger.settle([Settlement(other.entry_id)], "next")
    assert set(left(ledger)) <= {"count", "swept", "breaker"}
    assert ledger.open_count() == 0


def test_an_attempt_whose_learner_is_forgotten_has_lost_its_claim(ledger: Ledger, operations: Operations) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    claim_one(ledger, ticket)
    forget(operations, "alice")
    assert ledger.renew([("entry-1", "token")]) == [False]
    assert ledger.owe([Debt("entry-1", Completion(ALICE, 5), "mid")], "token") == [DebtStatus.LOST]
    assert ledger.fail([("entry-1", FinalFailure("C", "e", 1, 2))], "token") == [FailureStatus.LOST]
    assert ledger.retry([RetryLater("entry-1", 0, Spends.ATTEMPT, "")], "token") == [False]
    assert ledger.settle([Settlement("entry-1", "mid")], "token") == [0]
    assert ledger.claim([ticket, Ticket("entry-1", 2)], "again") == []
    # what was announced is remembered, under a name that names nobody
    assert left(ledger) == {"count": b"0", "paid:mid": b"1"}


def test_an_entry_that_meanwhile_is_somebody_else_s_is_left_alone(ledger: Ledger, operations: Operations) -> None:
    ledger.accept([request(1)])
    assert operations.forget([("entry-1", BOB), ("none", ALICE)]) == [0, 0]
    assert ledger.open_count() == 1


def test_a_name_that_was_left_on_a_list_goes_as_well(ledger: Ledger, operations: Operations) -> None:
    ledger._redis.hset(f"{ledger._prefix}running", '["alice","course","batch"]', "gone")
    ledger._redis.hset(f"{ledger._prefix}waiting", '["bob","course","batch"]', "gone-too")
    assert forget(operations, "alice") == 0
    assert set(left(ledger)) == {"waiting"}


def test_a_redis_that_is_away_is_said_to_be(open_ledger: Callable[..., Ledger]) -> None:
    ledger = open_ledger(url="redis://127.0.0.1:1/0", timeout=0.5)
    operations = Operations(ledger._connection)
    steps: list[Callable[[], object]] = [
        operations.pauses,
        operations.open_count,
        operations.now_ms,
        ledger.oldest_open_ms,
        ledger.verify,
        lambda: list(operations.entries()),
        lambda: operations.pause([EVERYTHING], ""),
        lambda: operations.end_pauses([EVERYTHING]),
        lambda: operations.forget([("entry", ALICE)]),
    ]
    for step in steps:
        with pytest.raises(LedgerUnavailable, match="Redis"):
            step()


@pytest.mark.parametrize("user_id", ["carol", HOSTILE.user_id])
def test_bulk_runs_for_a_learner_are_forgotten_and_others_stay(
    ledger: Ledger, operations: Operations, user_id: str
) -> None:
    store = RunStore(ledger._connection)
    orders = {
        "20260131-143005-mine": Order(Selection(user_id=user_id, stuck=True)),
        "20260131-143006-driven": Order(Selection(user_id=user_id)),
        "20260131-143007-other": Order(Selection(user_id="bob")),
        "20260131-143008-all": Order(Selection(stuck=True)),
    }
    driven = {
        name: store.begin(Run(name, *encode_order(order), started_ms=0), "token", "somebody", "life")
        for name, order in orders.items()
    }
    driven["20260131-143005-mine"].end(RunState.FINISHED, 5)
    runs = operations.runs_for(user_id)
    assert sorted(runs) == ["20260131-143005-mine", "20260131-143006-driven"]
    operations.delete_runs(runs)
    assert user_id.encode() not in names_in(ledger)
    assert operations.runs_for(user_id) == []
    assert sorted(it.run.run_id for it in store.list()) == ["20260131-143007-other", "20260131-143008-all"]
    # nobody goes on with it, and least of all with everybody
    with pytest.raises(RunRefused, match="does not know run"):
        driven["20260131-143006-driven"].save(found=1)
