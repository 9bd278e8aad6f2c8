"""Pauses on a real Redis: what is kept back spends nothing, and all of it goes on by itself."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from ledger.entries import Occupancy, RetryLater, Settlement, Spends, SweepReason, Ticket
from ledger.ledger import Ledger
from ledger.operations import Operations
from ledger.pauses import DRAIN, EVERYTHING, MOST_PAUSES, acceptance_stop, batch_scope, course_scope
from reconciliation.model import Completion, Debt, DebtStatus, EnrolmentKey, FinalFailure
from tests.ledger.steps import ALICE, BOB, LEASE_MS, WAIT_MS, Clock, claim_one, request

COURSE, BATCH = course_scope("course"), batch_scope("batch")
OTHER = EnrolmentKey("carol", "other", "other-batch")


def fields(ledger: Ledger, offset: int, *names: str) -> list[bytes | None]:
    client: Any = ledger._redis
    found: list[bytes | None] = client.hmget(f"{ledger._prefix}entry:entry-{offset}", *names)
    return found


def wait_messages(ledger: Ledger) -> list[Ticket]:
    return [swept.ticket for swept in ledger.sweep(100)]


def left(ledger: Ledger) -> set[str]:
    names = ledger._redis.scan_iter(f"{ledger._prefix}*", count=1000)
    return {name.decode().removeprefix(ledger._prefix) for name in names}


@pytest.mark.parametrize("scope", [EVERYTHING, COURSE, BATCH])
def test_a_refused_claim_spends_nothing_and_waits_without_messages(
    ledger: Ledger, operations: Operations, clock: Clock, scope: str
) -> None:
    tickets = ledger.accept([request(1), request(2, BOB)]).tickets
    assert operations.pause([scope], "why") == []
    before = fields(ledger, 1, "generation", "attempts", "waits", "crashes", "isolated", "alone")
    for _ in range(2):
        assert ledger.claim(tickets, "token") == []
    for _ in range(5):
        clock.now_ms += 10 * LEASE_MS
        assert ledger.sweep(100) == []
    assert fields(ledger, 1, "generation", "attempts", "waits", "crashes", "isolated", "alone") == before

    assert operations.end_pauses([scope]) == [scope]
    swept = ledger.sweep(100)
    assert [(one.ticket.entry_id, one.why, one.alone) for one in swept] == [
        ("entry-1", SweepReason.RETRY, False),
        ("entry-2", SweepReason.RETRY, False),
    ]
    # its wait is as long as after the first message
    clock.now_ms += WAIT_MS
    assert len(ledger.sweep(100)) == 2
    assert operations.pauses() == []


def test_the_message_that_was_refused_may_be_claimed_once_the_pause_is_over(
    ledger: Ledger, operations: Operations
) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    operations.pause([COURSE], "")
    assert ledger.claim([ticket], "token") == []
    operations.end_pauses([COURSE])
    assert claim_one(ledger, ticket).entry_id == "entry-1"
    # it comes back from its shelf no more
    assert "shelf:course:course" not in left(ledger)
    assert ledger.sweep(100) == []
    assert ledger.settle([Settlement("entry-1")], "token") == [1]
    ledger.sweep(100)
    assert left(ledger) == {"count"}


def test_a_message_that_finds_another_attempt_once_the_pause_is_over_is_on_no_shelf(
    ledger: Ledger, operations: Operations
) -> None:
    (running,) = ledger.accept([request(1)]).tickets
    claim_one(ledger, running)
    (refused,) = ledger.accept([request(2)]).tickets
    operations.pause([COURSE], "")
    assert ledger.claim([refused], "other") == []
    operations.end_pauses([COURSE])
    assert ledger.claim([refused], "other") == []
    assert "shelf:course:course" not in left(ledger)
    # it waits for the end of the other attempt alone
    assert ledger.sweep(100) == []
    assert ledger.settle([Settlement("entry-1")], "token") == [1]
    assert [ticket.entry_id for ticket in wait_messages(ledger)] == ["entry-2"]


@pytest.mark.parametrize("scope", [EVERYTHING, DRAIN])
def test_nothing_new_is_accepted_while_acceptance_is_stopped(
    ledger: Ledger, operations: Operations, scope: str
) -> None:
    known = ledger.accept([request(1)])
    assert ledger.verify().stopped == ""
    operations.pause([scope], "the move")
    assert ledger.verify().stopped == acceptance_stop(operations.pauses())
    assert "the move" in ledger.verify().stopped
    refused = ledger.accept([request(1), request(2), request(3, BOB)])
    assert (refused.accepted, refused.stopped, ledger.open_count()) == (1, True, 1)
    operations.end_pauses([scope])
    assert ledger.verify().stopped == ""
    taken = ledger.accept([request(1), request(2), request(3, BOB)])
    assert (taken.accepted, taken.stopped, taken.collapsed) == (3, False, 1)
    assert taken.tickets[0] == known.tickets[0]


@pytest.mark.parametrize("scope", [EVERYTHING, COURSE, BATCH])
def test_what_is_kept_back_is_not_among_what_waits_for_an_attempt(
    ledger: Ledger, operations: Operations, clock: Clock, scope: str
) -> None:
    assert ledger.unpaused_count() == 0
    tickets = ledger.accept([request(1), request(2), request(3, BOB), request(4, OTHER)]).tickets
    assert (ledger.unpaused_count(), ledger.open_count()) == (3, 4)
    operations.pause([scope], "")
    # two by a claim that is refused, what nobody claims by the sweep
    ledger.claim(tickets[:1], "token")
    clock.now_ms += WAIT_MS
    swept = ledger.sweep(100)
    assert (ledger.unpaused_count(), ledger.open_count()) == (len(swept), 4)
    assert len(swept) == (0 if scope == EVERYTHING else 1)
    ledger.accept([request(5, EnrolmentKey("dave", "course", "batch"))])
    assert ledger.unpaused_count() == len(swept)
    operations.end_pauses([scope])
    ledger.sweep(100)
    assert ledger.unpaused_count() == (3 if scope == EVERYTHING else 4)


def test_a_drain_lets_what_is_open_go_on(ledger: Ledger, operations: Operations) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    operations.pause([DRAIN], "")
    claim_one(ledger, ticket)
    ledger.retry([RetryLater("entry-1", 0, Spends.ATTEMPT, "why")], "token")
    (swept,) = ledger.sweep(10)
    claim_one(ledger, swept.ticket)
    assert ledger.settle([Settlement("entry-1")], "token") == [1]


def test_a_paused_course_is_accepted_and_others_flow(ledger: Ledger, operations: Operations, clock: Clock) -> None:
    operations.pause([COURSE], "its relations are made anew")
    acceptance = ledger.accept([request(1), request(2), request(3, OTHER), request(4, BOB)])
    assert [ticket.entry_id for ticket in acceptance.tickets] == ["entry-3"]
    assert (acceptance.accepted, acceptance.collapsed) == (4, 1)
    # a bridge that died before it committed sends nothing either
    assert ledger.accept([request(1)]).tickets == ()
    assert claim_one(ledger, acceptance.tickets[0]).entry_id == "entry-3"
    clock.now_ms += WAIT_MS
    assert ledger.sweep(10) == []
    operations.end_pauses([COURSE])
    tickets = wait_messages(ledger)
    assert [ticket.entry_id for ticket in tickets] == ["entry-1", "entry-4"]
    ledger.claim(tickets, "next")
    assert ledger.settle([Settlement("entry-1"), Settlement("entry-4")], "next") == [2, 1]


def test_what_a_paused_course_keeps_back_does_not_fill_the_ledger(
    open_ledger: Callable[..., Ledger], operations: Operations
) -> None:
    ledger = open_ledger(max_open=4, max_waiting=8)
    operations.pause([course_scope("big")], "")
    kept = [request(n, EnrolmentKey(f"learner-{n}", "big", "batch")) for n in range(8)]
    # four are let off, four more count
    assert ledger.accept(kept).accepted == 8
    assert ledger.occupancy() == Occupancy(open=8, counted=4)
    assert ledger.accept([request(9, OTHER)]).accepted == 0
    operations.end_pauses([course_scope("big")])
    tickets = wait_messages(ledger)
    claims = ledger.claim(tickets, "token")
    assert ledger.occupancy() == Occupancy(open=8, counted=8)
    ledger.settle([Settlement(claim.entry_id) for claim in claims], "token")
    assert ledger.occupancy() == Occupancy(open=0, counted=0)


def test_an_attempt_that_runs_ends_as_usual(ledger: Ledger, operations: Operations) -> None:
    claims = ledger.claim(ledger.accept([request(1), request(2, BOB)]).tickets, "token")
    operations.pause([EVERYTHING, COURSE], "")
    # also one that goes on in a process of its own, under the same token
    assert ledger.claim([Ticket("entry-1", 1)], "token")[0] == claims[0]
    assert ledger.renew([("entry-1", "token")]) == [True]
    assert ledger.owe([Debt("entry-1", Completion(ALICE, 5), "mid")], "token") == [DebtStatus.OWED]
    assert ledger.settle([Settlement("entry-1", "mid")], "token") == [1]
    assert ledger.retry([RetryLater("entry-2", 0, Spends.ATTEMPT, "why", COURSE)], "token") == [True]
    assert ledger.sweep(10) == []
    operations.end_pauses([EVERYTHING])
    assert ledger.sweep(10) == []
    assert fields(ledger, 2, "shelf") == [b"course:course"]
    operations.end_pauses([COURSE])
    (swept,) = ledger.sweep(10)
    assert (claim_one(ledger, swept.ticket).attempts, swept.alone) == (1, True)


def test_an_attempt_that_dies_meanwhile_is_judged_as_ever_and_waits(
    ledger: Ledger, operations: Operations, clock: Clock
) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    seen = []
    for number in range(3):
        claim = claim_one(ledger, ticket, f"dead-{number}")
        # the process of its own begins with this
        assert claim_one(ledger, ticket, f"dead-{number}", begins=True) == claim
        seen.append((claim.isolated, claim.crashes))
        operations.pause([BATCH], "")
        clock.now_ms += LEASE_MS
        assert ledger.sweep(10) == []
        assert ledger.claim([ticket], "stale") == []
        operations.end_pauses([BATCH])
        (swept,) = ledger.sweep(10)
        assert swept.alone
        ticket = swept.ticket
    assert seen == [(False, 0), (True, 0), (True, 1)]


def test_debts_and_failures_outlive_a_pause(ledger: Ledger, operations: Operations, clock: Clock) -> None:
    tickets = ledger.accept([request(1), request(2, BOB)]).tickets
    ledger.claim(tickets, "dead")
    failure = FinalFailure("CODE", "text", 1, 2)
    ledger.owe([Debt("entry-1", Completion(ALICE, 5), "mid")], "dead")
    ledger.fail([("entry-2", failure)], "dead")
    operations.pause([COURSE], "")
    clock.now_ms += LEASE_MS
    assert ledger.sweep(10) == []
    operations.end_pauses([COURSE])
    claims = [claim_one(ledger, ticket, "next") for ticket in wait_messages(ledger)]
    assert [(claim.owed_ms, claim.failure) for claim in claims] == [(5, None), (None, failure)]


def test_a_request_that_waits_for_a_running_attempt_waits_for_the_pause_as_well(
    ledger: Ledger, operations: Operations
) -> None:
    claim_one(ledger, ledger.accept([request(1)]).tickets[0], "first")
    (second,) = ledger.accept([request(2)]).tickets
    assert ledger.claim([second], "second") == []
    operations.pause([COURSE], "")
    assert ledger.claim([second], "second") == []
    ledger.settle([Settlement("entry-1")], "first")
    assert ledger.sweep(10) == []
    operations.end_pauses([COURSE])
    assert [ticket.entry_id for ticket in wait_messages(ledger)] == ["entry-2"]


def test_the_end_of_one_pause_leaves_the_others(ledger: Ledger, operations: Operations) -> None:
    both = ledger.accept([request(1), request(2, OTHER)]).tickets
    operations.pause([COURSE, course_scope("other"), EVERYTHING], "")
    assert ledger.claim(both, "token") == []
    operations.end_pauses([EVERYTHING])
    assert ledger.sweep(10) == []
    operations.end_pauses([course_scope("other")])
    assert [ticket.entry_id for ticket in wait_messages(ledger)] == ["entry-2"]
    assert [pause.scope for pause in operations.pauses()] == [COURSE]


def test_a_second_pause_takes_over_what_the_first_kept_back(ledger: Ledger, operations: Operations) -> None:
    tickets = ledger.accept([request(1), request(2)]).tickets
    operations.pause([COURSE], "")
    assert ledger.claim(tickets, "token") == []
    operations.pause([EVERYTHING], "")
    assert ledger.claim(tickets, "token") == []
    assert {name for name in left(ledger) if name.startswith("shelf:")} == {"shelf:all"}
    operations.end_pauses([COURSE, EVERYTHING])
    assert [ticket.entry_id for ticket in wait_messages(ledger)] == ["entry-1"]


def test_what_is_let_go_comes_back_at_the_sweep_s_rate_the_oldest_first(
    open_ledger: Callable[..., Ledger], operations: Operations, clock: Clock
) -> None:
    ledger = open_ledger(sweep_rate=2)
    operations.pause([COURSE], "")
    for number in (3, 1, 2, 5, 4):
        ledger.accept([request(number, EnrolmentKey(f"learner-{number}", "course", "batch"))])
        clock.now_ms += 1
    operations.end_pauses([COURSE])
    found = []
    for _ in range(4):
        found.append([swept.ticket.entry_id for swept in ledger.sweep(10)])
        clock.now_ms += 1000
    assert found == [["entry-1", "entry-3"], ["entry-2", "entry-5"], ["entry-4"], []]


def test_a_pause_may_come_back_before_all_is_let_go(
    open_ledger: Callable[..., Ledger], operations: Operations, clock: Clock
) -> None:
    ledger = open_ledger(sweep_rate=2)
    operations.pause([COURSE], "")
    ledger.accept([request(n, EnrolmentKey(f"learner-{n}", "course", "batch")) for n in range(5)])
    operations.end_pauses([COURSE])
    assert len(ledger.sweep(10)) == 2
    assert operations.pauses() == []
    operations.pause([COURSE], "again")
    clock.now_ms += LEASE_MS
    assert ledger.sweep(10) == []
    operations.end_pauses([COURSE])
    found = set()
    for _ in range(4):
        found |= {ticket.entry_id for ticket in wait_messages(ledger)}
        clock.now_ms += 1000
    assert len(found) == 5


def test_a_pause_that_is_given_again_keeps_its_time_and_takes_the_new_reason(
    operations: Operations, clock: Clock
) -> None:
    operations.pause([COURSE], "first")
    clock.now_ms += 5000
    operations.pause([COURSE, BATCH], "second: “quoted” 1\n")
    assert [(it.scope, it.since_ms, it.reason) for it in operations.pauses()] == [
        (COURSE, 1_000_000, "second: “quoted” 1\n"),
        (BATCH, 1_005_000, "second: “quoted” 1\n"),
    ]
    assert operations.end_pauses([COURSE, course_scope("nobody")]) == [COURSE]
    assert operations.end_pauses([COURSE, BATCH]) == [BATCH]


def test_there_is_a_bound_to_pauses(operations: Operations) -> None:
    scopes = [course_scope(str(number)) for number in range(MOST_PAUSES + 1)]
    assert operations.pause(scopes, "") == scopes[-1:]
    assert operations.pause(scopes[:1], "again") == []


def test_ids_that_look_like_something_else_are_told_apart(ledger: Ledger, operations: Operations) -> None:
    learner = EnrolmentKey('a"]\x00', "all", 'b:","course:x\\')
    (ticket,) = ledger.accept([request(1, learner)]).tickets
    operations.pause([course_scope("x"), batch_scope("all"), course_scope('a"]\x00')], "")
    claim_one(ledger, ticket)
    operations.pause([batch_scope(learner.batch_id)], "")
    assert ledger.accept([request(2, learner)]).tickets == ()


def test_a_pause_is_taken_though_redis_is_out_of_memory(ledger: Ledger, operations: Operations, redis_url: str) -> None:
    tickets = ledger.accept([request(1), request(2, BOB)]).tickets
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory", 1)
        try:
            assert operations.pause([COURSE], "") == []
            assert ledger.claim(tickets, "token") == []
            assert operations.end_pauses([COURSE]) == [COURSE]
        finally:
            client.config_set("maxmemory", 0)
    assert len(ledger.sweep(10)) == 2


def test_a_worker_of_an_older_release_may_take_what_is_shelved(
    ledger: Ledger, operations: Operations, clock: Clock, redis_url: str
) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    operations.pause([COURSE], "")
    assert ledger.claim([ticket], "token") == []
    # what its script did, which knew of no shelves
    with redis.Redis.from_url(redis_url) as client:
        client.hset(f"{ledger._prefix}entry:entry-1", mapping={"state": "claimed", "token": "old", "group": 1})
        client.hset(f"{ledger._prefix}running", '["alice","course","batch"]', "entry-1")
        client.hdel(f"{ledger._prefix}waiting", '["alice","course","batch"]')
        client.zadd(f"{ledger._prefix}due", {"entry-1": clock.now_ms + LEASE_MS})
    operations.end_pauses([COURSE])
    assert ledger.sweep(10) == [], "its lease holds"
    assert ledger.settle([Settlement("entry-1")], "old") == [1]
    assert left(ledger) == {"count"}
