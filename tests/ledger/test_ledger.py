"""The ledger's steps on a real Redis, with a clock that the test moves."""

import uuid
from collections.abc import Callable
from dataclasses import replace

import pytest
import redis

from devstack.ports import HOST, free_port
from ledger.connection import LedgerConfig
from ledger.entries import Acceptance, FailureStatus, Occupancy, RetryLater, Settlement, Spends, SweepReason, Ticket
from ledger.healing import HealingTurns
from ledger.ledger import Ledger
from ledger.operations import Operations
from ledger.pauses import batch_scope, course_scope
from reconciliation.errors import LedgerUnavailable, SettingsError
from reconciliation.model import (
    Completion,
    Debt,
    DebtStatus,
    EnrolmentKey,
    FinalFailure,
    SyncRequest,
)
from tests.ledger.steps import ALICE, BOB, LEASE_MS, WAIT_MS, Clock, claim_one, lapse, request


def test_a_request_comes_out_of_a_claim_as_it_went_in(ledger: Ledger) -> None:
    acceptance = ledger.accept([request(7, EnrolmentKey('a"\n', "курс", "b,]"), repeated=True)])
    claim = claim_one(ledger, acceptance.tickets[0])
    assert claim.request == request(7, EnrolmentKey('a"\n', "курс", "b,]"), repeated=True)
    assert (claim.attempts, claim.waits, claim.crashes, claim.owed_ms, claim.failure) == (0, 0, 0, None, None)
    assert claim.attempt().requested_ms == 500


def test_an_id_is_a_value_or_a_field_in_the_ledger_or_the_end_of_a_key_that_is_its_own(
    ledger: Ledger, operations: Operations, config: LedgerConfig, redis_url: str
) -> None:
    hostile = ":entry:1}\n{*"
    course, batch = f"{hostile}course", f"{hostile}batch"
    enrolments = [EnrolmentKey(f"{hostile}{number}", course, batch) for number in range(3)]
    paused = [EnrolmentKey(hostile, f"{course}3", batch), EnrolmentKey(hostile, course, f"{batch}4")]
    tickets = ledger.accept([request(number, key) for number, key in enumerate([*enrolments, *paused])]).tickets
    operations.pause([course_scope(f"{course}3"), batch_scope(f"{batch}4")], hostile)
    ledger.claim(tickets, "token")
    ledger.owe([Debt("entry-0", Completion(enrolments[0], 5), "mid")], "token")
    ledger.fail([("entry-1", FinalFailure("CODE", hostile, 1, 1))], "token")
    ledger.retry([RetryLater("entry-2", 5, Spends.ATTEMPT, hostile, f"course:{hostile}")], "token")
    turns = HealingTurns(config, 60)
    turns.take([course])
    turns.close()
    with redis.Redis.from_url(redis_url) as client:
        prefix = f"enrolment-reconciliation:{{{config.group_id}}}:".encode()
        names = {key.removeprefix(prefix) for key in client.scan_iter(f"*{config.group_id}*", count=1000)}
    assert names == {
        *(f"entry:entry-{number}".encode() for number in range(5)),
        *(b"ages", b"breaker", b"count", b"due", b"open:requests:0", b"parked", b"paused", b"running", b"waiting"),
        # no other key begins like these, so whatever follows names none of them
        *(f"shelf:course:{course}3".encode(), f"shelf:batch:{batch}4".encode(), f"healing:{course}".encode()),
    }


def test_a_key_that_is_missing_and_one_that_is_empty_are_told_apart(ledger: Ledger) -> None:
    without = replace(request(1), record=replace(request(1).record, key=None))
    empty = replace(request(2, BOB), record=replace(request(2).record, key=b""))
    tickets = ledger.accept([without, empty]).tickets
    assert [claim.request.record.key for claim in ledger.claim(tickets, "t")] == [None, b""]


def test_accepting_again_makes_no_second_entry_and_gives_the_same_ticket(ledger: Ledger) -> None:
    first = ledger.accept([request(1)])
    assert ledger.accept([request(1)]) == first
    assert ledger.open_count() == 1


def test_what_an_attempt_has_touched_is_not_sent_again_by_accepting_again(ledger: Ledger) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    claim_one(ledger, ticket)
    assert ledger.accept([request(1)]).tickets == ()
    ledger.retry([RetryLater("entry-1", 5000, Spends.ATTEMPT, "why")], "token")
    assert ledger.accept([request(1)]).tickets == ()


def test_what_may_have_ended_a_process_is_not_sent_in_company_by_accepting_again(ledger: Ledger, clock: Clock) -> None:
    ledger.claim(ledger.accept([request(1), request(2, BOB)]).tickets, "dead")
    clock.now_ms += LEASE_MS
    assert len(ledger.sweep(10)) == 2
    assert ledger.accept([request(1), request(2, BOB)]).tickets == ()


def test_repeats_of_a_waiting_enrolment_collapse_and_close_with_it(ledger: Ledger) -> None:
    acceptance = ledger.accept([request(1), request(2), request(3, BOB), request(4)])
    assert [ticket.entry_id for ticket in acceptance.tickets] == ["entry-1", "entry-3"]
    assert (acceptance.accepted, acceptance.collapsed, ledger.open_count()) == (4, 2, 4)
    claim_one(ledger, acceptance.tickets[0])
    assert ledger.settle([Settlement("entry-1")], "token") == [3]
    assert ledger.open_count() == 1
    assert ledger.oldest_open("requests", 0) == 3


def test_more_than_one_script_takes_in_are_taken_in_by_several(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.ledger.MOST_AT_ONCE", 2)
    acceptance = ledger.accept([request(1), request(2), request(3, BOB), request(4), request(5, BOB)])
    assert [ticket.entry_id for ticket in acceptance.tickets] == ["entry-1", "entry-3"]
    assert (acceptance.accepted, acceptance.collapsed, ledger.open_count()) == (5, 3, 5)


@pytest.mark.parametrize("bound", [1, 2, 3, 4])
def test_nothing_behind_what_found_no_room_comes_in_by_a_later_script(
    open_ledger: Callable[..., Ledger], monkeypatch: pytest.MonkeyPatch, bound: int
) -> None:
    monkeypatch.setattr("ledger.ledger.MOST_AT_ONCE", 2)
    ledger = open_ledger(max_open=bound)
    acceptance = ledger.accept([request(number) for number in range(1, 6)])
    assert (acceptance.accepted, ledger.open_count()) == (bound, bound)
    assert ledger.accept([request(number) for number in range(1, 6)]) == Acceptance(bound, acceptance.tickets, 0)


def test_a_collapsed_request_that_is_accepted_again_changes_nothing(ledger: Ledger) -> None:
    ledger.accept([request(1), request(2)])
    assert ledger.accept([request(2)]).tickets == ()
    assert ledger.open_count() == 2


@pytest.mark.parametrize("second", [5, 2], ids=["the same record", "another that collapses"])
def test_a_repeated_request_is_known_by_its_mark_and_its_earliest_time(ledger: Ledger, second: int) -> None:
    tickets = ledger.accept([request(5, at=900)]).tickets
    ledger.accept([request(second, repeated=True, at=300)])
    attempt = claim_one(ledger, tickets[0]).attempt()
    assert (attempt.requested_ms, attempt.repeated) == (300, True)


def test_what_is_marked_repeated_while_its_attempt_runs_is_attempted_again(ledger: Ledger) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    claim_one(ledger, ticket)
    ledger.accept([request(1, repeated=True)])
    assert ledger.settle([Settlement("entry-1")], "token") == [0]
    assert ledger.open_count() == 1
    (swept,) = ledger.sweep(10)
    assert not swept.alone
    claim = claim_one(ledger, swept.ticket, "next")
    assert claim.request.repeated
    # read again once more, it says nothing new
    ledger.accept([request(1, repeated=True)])
    assert ledger.settle([Settlement("entry-1")], "next") == [1]


@pytest.mark.parametrize(
    "settlement",
    [Settlement("entry-1", "mid"), Settlement("entry-1", given_up=True)],
    ids=["announced", "given up"],
)
def test_what_is_marked_repeated_meanwhile_ends_where_its_attempt_told_how(
    ledger: Ledger, settlement: Settlement
) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    claim_one(ledger, ticket)
    ledger.accept([request(1, repeated=True)])
    assert ledger.settle([settlement], "token") == [1]


def test_an_attempt_that_knows_its_entry_as_repeated_hears_of_an_earlier_time(ledger: Ledger) -> None:
    (ticket,) = ledger.accept([request(1, repeated=True, at=900), request(2)]).tickets
    claim_one(ledger, ticket)
    ledger.accept([request(2, repeated=True, at=300)])
    assert ledger.settle([Settlement("entry-1")], "token") == [0]
    assert claim_one(ledger, ledger.sweep(10)[0].ticket, "next").attempt().requested_ms == 300


def test_a_click_that_waits_goes_on_with_what_is_attempted_again(ledger: Ledger) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    claim_one(ledger, ticket)
    (second,) = ledger.accept([request(2)]).tickets
    assert ledger.claim([second], "second") == []
    ledger.accept([request(1, repeated=True)])
    ledger.settle([Settlement("entry-1")], "token")
    assert {one.ticket.entry_id for one in ledger.sweep(10)} == {"entry-1", "entry-2"}


def test_what_joined_earlier_marks_the_entry_that_it_joined(ledger: Ledger) -> None:
    (ticket,) = ledger.accept([request(1), request(2)]).tickets
    claim_one(ledger, ticket)
    ledger.accept([request(2, repeated=True)])
    assert ledger.settle([Settlement("entry-1")], "token") == [0]
    assert claim_one(ledger, ledger.sweep(10)[0].ticket, "next").request.repeated


def test_what_joined_earlier_marks_what_waits_and_what_runs(ledger: Ledger) -> None:
    (ticket,) = ledger.accept([request(1), request(2)]).tickets
    claim_one(ledger, ticket)
    (waiting,) = ledger.accept([request(3)]).tickets
    ledger.accept([request(2, repeated=True)])
    assert ledger.settle([Settlement("entry-1")], "token") == [0]
    assert claim_one(ledger, waiting, "next").request.repeated


@pytest.mark.parametrize(
    "other",
    [
        request(1, BOB),
        replace(request(1), record=replace(request(1).record, value=b'{"event":2}')),
        request(2, BOB),
    ],
    ids=["another learner", "another event", "another learner, where one had joined"],
)
def test_a_record_under_the_offset_of_an_open_request_waits_for_its_end(ledger: Ledger, other: SyncRequest) -> None:
    (ticket,) = ledger.accept([request(1), request(2)]).tickets
    behind = request(9, EnrolmentKey("carol", "course", "batch"))
    # as after a topic was made anew; whether the bridge goes back besides makes no difference
    for repeated in (False, True):
        acceptance = ledger.accept([request(7, BOB), replace(other, repeated=repeated), behind])
        assert (acceptance.accepted, acceptance.taken, acceptance.stopped) == (1, True, False)
    assert ledger.open_count() == 3
    assert not claim_one(ledger, ticket).request.repeated
    assert ledger.settle([Settlement("entry-1")], "token") == [2]
    acceptance = ledger.accept([other, behind])
    assert (acceptance.accepted, acceptance.taken) == (2, False)
    assert ledger.open_count() == 3


def test_what_joined_is_known_by_its_offset_until_its_entry_ends(ledger: Ledger) -> None:
    (ticket,) = ledger.accept([request(1), request(2)]).tickets
    assert ledger._redis.hgetall(f"{ledger._prefix}joined:requests:0") == {b"2": b"entry-1"}
    assert ledger.accept([request(2)]).accepted == 1
    claim_one(ledger, ticket)
    assert ledger.settle([Settlement("entry-1")], "token") == [2]
    # what an older release left there goes with the partition's last open offset
    ledger._redis.hset(f"{ledger._prefix}joined:requests:0", "7", "gone")
    (ticket,) = ledger.accept([request(3, BOB)]).tickets
    claim_one(ledger, ticket)
    ledger.settle([Settlement("entry-3")], "token")
    assert not ledger._redis.exists(f"{ledger._prefix}joined:requests:0")


@pytest.mark.parametrize("at", [1_700_000_000_000_000_000, 2**63 - 1])
def test_a_time_beyond_all_is_read_again_as_a_whole_number(ledger: Ledger, at: int) -> None:
    (ticket,) = ledger.accept([request(1, at=at), request(2, at=at, repeated=True)]).tickets
    assert claim_one(ledger, ticket).request.record.origin.timestamp_ms == pytest.approx(at)


def test_nobody_joins_a_request_that_is_given_up_already(ledger: Ledger) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    claim_one(ledger, ticket)
    ledger.fail([("entry-1", FinalFailure("CODE", "text", 1, 2))], "token")
    ledger.retry([RetryLater("entry-1", 60_000, Spends.WAIT, "Kafka is away")], "token")
    assert [one.entry_id for one in ledger.accept([request(2)]).tickets] == ["entry-2"]
    assert ledger.accept([request(3)]).collapsed == 1


def test_what_waits_for_one_course_does_not_fill_the_ledger(open_ledger: Callable[..., Ledger]) -> None:
    ledger = open_ledger(max_open=4, max_waiting=4)
    accepted = ledger.accept([request(n, EnrolmentKey(f"learner-{n}", "broken", "batch")) for n in range(4)])
    ledger.claim(accepted.tickets, "token")
    ledger.retry([RetryLater(f"entry-{n}", 0, Spends.ATTEMPT, "", "course:broken") for n in range(4)], "token")
    # one course has half of what may wait beside the bound
    assert ledger.occupancy() == Occupancy(open=4, counted=2)
    assert ledger.accept([request(n, EnrolmentKey(f"learner-{n}", "well", "batch")) for n in (4, 5, 6)]).accepted == 2
    # whoever joins one that waits, waits with it; whoever is attempted counts again
    assert ledger.accept([request(6, EnrolmentKey("learner-0", "broken", "batch"))]).accepted == 0
    (swept, *_) = ledger.sweep(10)
    claim_one(ledger, swept.ticket)
    assert ledger.occupancy() == Occupancy(open=6, counted=4)


def test_what_waits_for_several_has_one_bound_together(open_ledger: Callable[..., Ledger]) -> None:
    ledger = open_ledger(max_open=20, max_waiting=4)
    accepted = ledger.accept([request(n, EnrolmentKey(f"learner-{n}", "course", "batch")) for n in range(9)])
    ledger.claim(accepted.tickets, "token")
    retries = [RetryLater(f"entry-{n}", 0, Spends.ATTEMPT, "", f"course:{n % 3}") for n in range(9)]
    ledger.retry(retries, "token")
    assert ledger.occupancy() == Occupancy(open=9, counted=5)
    swept = ledger.sweep(10)
    ledger.claim([one.ticket for one in swept], "next")
    ledger.settle([Settlement(one.ticket.entry_id) for one in swept], "next")
    assert ledger.occupancy() == Occupancy(open=0, counted=0)


def test_joining_what_waits_is_let_off_with_it(open_ledger: Callable[..., Ledger]) -> None:
    ledger = open_ledger(max_open=10, max_waiting=8)
    (ticket,) = ledger.accept([request(1)]).tickets
    claim_one(ledger, ticket)
    ledger.retry([RetryLater("entry-1", 0, Spends.WAIT, "", "server:search service")], "token")
    ledger.accept([request(2), request(3)])
    assert ledger.occupancy() == Occupancy(open=3, counted=0)
    (swept,) = ledger.sweep(10)
    claim_one(ledger, swept.ticket)
    assert ledger.occupancy() == Occupancy(open=3, counted=3)


def keep_count(ledger: Ledger, clock: Clock, swept: int) -> None:
    """Keep the count of a second's sweeps, which lasts two of Redis' seconds, whatever the test's clock says."""
    name = f"{ledger._prefix}swept"
    if not ledger._redis.persist(name):
        # on a busy machine it is gone already
        ledger._redis.hset(name, clock.now_ms // 1000, swept)


def test_the_sweep_spreads_what_is_due_at_once(open_ledger: Callable[..., Ledger], clock: Clock) -> None:
    ledger = open_ledger(sweep_rate=2)
    ledger.accept([request(n, EnrolmentKey(f"learner-{n}", "course", "batch")) for n in range(5)])
    clock.now_ms += WAIT_MS
    found = []
    for _ in range(3):
        found.append(len(ledger.sweep(10)))
        keep_count(ledger, clock, found[-1])
        found.append(len(ledger.sweep(10)))
        clock.now_ms += 1000
    assert found == [2, 0, 2, 0, 1, 0]


def test_the_sweeps_of_a_second_are_counted_no_longer_than_they_count(
    open_ledger: Callable[..., Ledger], clock: Clock
) -> None:
    ledger = open_ledger(sweep_rate=1)
    ledger.accept([request(n, EnrolmentKey(f"learner-{n}", "course", "batch")) for n in range(5)])
    clock.now_ms += WAIT_MS
    for _ in range(5):
        assert len(ledger.sweep(10)) == 1
        # as where something is overdue in every second: its time never runs out
        keep_count(ledger, clock, 1)
        clock.now_ms += 1000
    assert ledger._redis.hlen(f"{ledger._prefix}swept") == 1


def fail_one(ledger: Ledger, offset: int) -> FailureStatus:
    (ticket,) = ledger.accept([request(offset, EnrolmentKey(f"learner-{offset}", "course", "batch"))]).tickets
    claim_one(ledger, ticket)
    failure = FinalFailure("CODE", "text", 1, 2)
    (status,) = ledger.fail([(ticket.entry_id, failure)], "token")
    assert ledger.fail([(ticket.entry_id, failure)], "token") == [status], "an answer that was lost is given again"
    if status is FailureStatus.OWED:
        assert ledger.settle([Settlement(ticket.entry_id)], "token") == [1]
    return status


def test_too_many_failures_are_held_and_go_on_when_it_clears(open_ledger: Callable[..., Ledger], clock: Clock) -> None:
    ledger = open_ledger(failures_per_minute=20, max_open=1000)
    offset = iter(range(1000))
    assert ledger.failures_held_ms() == 0
    assert [fail_one(ledger, next(offset)) for _ in range(21)] == [*[FailureStatus.OWED] * 20, FailureStatus.HELD]
    assert ledger.failures_held_ms() == 60_000

    # a tenth is let through to see whether it has cleared; then the wait doubles
    clock.now_ms += 60_000
    assert ledger.failures_held_ms() == 0
    assert [fail_one(ledger, next(offset)) for _ in range(3)] == [*[FailureStatus.OWED] * 2, FailureStatus.HELD]
    assert ledger.failures_held_ms() == 120_000

    # a minute with fewer, and all is as before
    clock.now_ms += 120_000
    assert fail_one(ledger, next(offset)) is FailureStatus.OWED
    clock.now_ms += 60_000
    assert [fail_one(ledger, next(offset)) for _ in range(20)] == [FailureStatus.OWED] * 20
    assert ledger.failures_held_ms() == 0


def test_an_operator_may_let_failures_go_on(open_ledger: Callable[..., Ledger]) -> None:
    ledger = open_ledger(failures_per_minute=1)
    assert [fail_one(ledger, offset) for offset in (1, 2)] == [FailureStatus.OWED, FailureStatus.HELD]
    assert ledger.release_failures()
    assert ledger.failures_held_ms() == 0
    assert not ledger.release_failures()
    assert fail_one(ledger, 3) is FailureStatus.OWED


def test_a_condemned_request_is_given_up_by_its_next_attempt(ledger: Ledger) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    failure = FinalFailure("REVOKED", "text", 0, 2)
    assert ledger.condemn([ticket, Ticket("nobody", 1), Ticket("entry-1", 7)], failure) == 1
    assert claim_one(ledger, ticket).failure == failure


def test_a_completion_that_is_owed_outlives_a_condemnation(ledger: Ledger) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    claim_one(ledger, ticket)
    ledger.owe([Debt("entry-1", Completion(ALICE, 5), "mid")], "token")
    assert ledger.condemn([ticket], FinalFailure("REVOKED", "text", 0, 2)) == 0


def test_nobody_joins_a_request_that_may_have_killed_its_worker(ledger: Ledger, clock: Clock) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    claim_one(ledger, ticket)
    clock.now_ms += LEASE_MS
    ledger.sweep(10)
    assert [one.entry_id for one in ledger.accept([request(2)]).tickets] == ["entry-2"]


def test_an_entry_that_can_not_be_read_takes_no_other_with_it(ledger: Ledger, redis_url: str) -> None:
    tickets = ledger.accept([request(1), request(2, BOB)]).tickets
    with redis.Redis.from_url(redis_url) as client:
        client.hset(f"{ledger._prefix}entry:entry-1", "request", "{")
    assert [claim.entry_id for claim in ledger.claim(tickets, "token")] == ["entry-2"]


def test_a_request_that_comes_while_an_attempt_runs_waits_for_its_end(ledger: Ledger) -> None:
    (first,) = ledger.accept([request(1)]).tickets
    claim_one(ledger, first, "first")
    (second,) = ledger.accept([request(2)]).tickets
    assert ledger.claim([second], "second") == []
    assert ledger.sweep(10) == []
    ledger.settle([Settlement("entry-1")], "first")
    (swept,) = ledger.sweep(10)
    assert claim_one(ledger, swept.ticket, "second").entry_id == "entry-2"


def test_the_bound_stops_acceptance_in_order_and_nothing_else(ledger: Ledger) -> None:
    requests = [request(n, EnrolmentKey(f"user-{n}", "c", "b")) for n in range(12)]
    acceptance = ledger.accept(requests)
    assert (acceptance.accepted, len(acceptance.tickets)) == (10, 10)
    assert ledger.accept(requests[10:]).accepted == 0
    assert ledger.accept(requests[:3]).accepted == 3
    claims = ledger.claim(acceptance.tickets[:2], "token")
    ledger.settle([Settlement(claim.entry_id) for claim in claims], "token")
    assert ledger.accept(requests[10:]).accepted == 2


def test_a_message_that_comes_twice_is_worked_on_once(ledger: Ledger) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    claim_one(ledger, ticket, "one")
    assert ledger.claim([ticket], "another") == []
    assert ledger.claim([Ticket("no such entry", 1)], "another") == []


def test_a_claim_whose_answer_was_lost_is_given_again(ledger: Ledger) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    assert claim_one(ledger, ticket, "same") == claim_one(ledger, ticket, "same")


def test_a_retry_waits_its_time_then_comes_alone_with_its_attempts_counted(ledger: Ledger, clock: Clock) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    claim_one(ledger, ticket)
    assert ledger.retry([RetryLater("entry-1", 5000, Spends.ATTEMPT, "it failed")], "token") == [True]
    clock.now_ms += 4999
    assert ledger.sweep(10) == []
    clock.now_ms += 1
    (swept,) = ledger.sweep(10)
    assert (swept.alone, swept.why) == (True, SweepReason.RETRY)
    assert ledger.claim([ticket], "stale") == []
    claim = claim_one(ledger, swept.ticket)
    assert (claim.attempts, claim.waits, claim.reason) == (1, 0, "it failed")
    ledger.retry([RetryLater("entry-1", 0, Spends.WAIT, "away")], "token")
    (swept,) = ledger.sweep(10)
    claim = claim_one(ledger, swept.ticket)
    assert (claim.attempts, claim.waits) == (1, 1)


def test_what_waited_for_a_server_goes_on_in_company(ledger: Ledger) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    claim_one(ledger, ticket)
    ledger.retry([RetryLater("entry-1", 0, Spends.WAIT, "away")], "token")
    assert [one.alone for one in ledger.sweep(10)] == [False]


def test_an_unclaimed_entry_is_sent_again_at_doubling_waits(ledger: Ledger, clock: Clock) -> None:
    ledger.accept([request(1)])
    gaps = []
    for _ in range(4):
        before = clock.now_ms
        while not (swept := ledger.sweep(10)):
            clock.now_ms += 1000
        assert swept[0].why is SweepReason.UNCLAIMED
        gaps.append(clock.now_ms - before)
    assert gaps == [WAIT_MS, 2 * WAIT_MS, 4 * WAIT_MS, 8 * WAIT_MS]


def test_of_an_entry_s_messages_the_first_that_comes_begins_its_attempt_and_no_other(
    ledger: Ledger, clock: Clock
) -> None:
    messages = list(ledger.accept([request(1)]).tickets)
    for _ in range(3):
        clock.now_ms += 16 * WAIT_MS
        messages += [one.ticket for one in ledger.sweep(10)]
    claim_one(ledger, messages[1], "first")
    assert all(ledger.claim([message], "other") == [] for message in messages)
    ledger.retry([RetryLater("entry-1", 0, Spends.ATTEMPT, "why")], "first")
    # they are about an attempt that is over
    assert all(ledger.claim([message], "other") == [] for message in messages)
    claim_one(ledger, ledger.sweep(10)[0].ticket, "second")


def test_a_queue_that_takes_longer_than_the_longest_wait_is_worked_off(
    open_ledger: Callable[..., Ledger], clock: Clock
) -> None:
    ledger = open_ledger(sweep_max_wait=WAIT_MS / 1000)
    queue = list(
        ledger.accept(
            [request(number, EnrolmentKey(f"user-{number}", "course", "batch")) for number in range(5)]
        ).tickets
    )
    for begun in range(5):
        # all are sent again before the next one is taken off
        clock.now_ms += WAIT_MS
        queue += [one.ticket for one in ledger.sweep(10)]
        claim_one(ledger, queue.pop(0), f"attempt-{begun}")


def test_a_lapsed_group_goes_on_as_singles_and_nobody_is_blamed(ledger: Ledger, clock: Clock) -> None:
    tickets = ledger.accept([request(1), request(2, BOB)]).tickets
    ledger.claim(tickets, "dead")
    clock.now_ms += LEASE_MS
    swept = ledger.sweep(10)
    assert [(one.alone, one.why) for one in swept] == [(True, SweepReason.LAPSED)] * 2
    assert [claim.crashes for claim in ledger.claim([one.ticket for one in swept], "next")] == [0, 0]


def test_an_attempt_lost_alone_goes_on_in_its_own_process_and_only_there_it_counts(
    ledger: Ledger, clock: Clock
) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    seen = []
    for number in range(4):
        claim = claim_one(ledger, ticket, f"dead-{number}")
        # the process of its own begins with this
        assert claim_one(ledger, ticket, f"dead-{number}", begins=True) == claim
        seen.append((claim.isolated, claim.crashes))
        swept = lapse(ledger, clock)
        assert swept.alone
        ticket = swept.ticket
    assert seen == [(False, 0), (True, 0), (True, 1), (True, 2)]


def test_an_own_process_lost_before_it_began_does_not_count_but_for_ever(ledger: Ledger, clock: Clock) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    seen = []
    for number in range(14):
        claim = claim_one(ledger, ticket, f"dead-{number}")
        # the worker's own claim again, whose answer was lost
        assert claim_one(ledger, ticket, f"dead-{number}") == claim
        seen.append((claim.isolated, claim.crashes))
        swept = lapse(ledger, clock)
        assert swept.alone
        ticket = swept.ticket
    assert seen == [(False, 0), *[(True, 0)] * 11, (True, 1), (True, 2)]


def test_what_one_process_began_says_nothing_of_the_next(ledger: Ledger, clock: Clock) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    for token in ("alone", "own"):
        claim_one(ledger, ticket, token)
        claim_one(ledger, ticket, token, begins=True)
        ticket = lapse(ledger, clock).ticket
    for token in ("lost", "lost again"):
        assert claim_one(ledger, ticket, token).crashes == 1
        ticket = lapse(ledger, clock).ticket


def test_a_release_that_does_not_say_whether_it_began_is_judged_as_ever(
    ledger: Ledger, clock: Clock, redis_url: str
) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    client = redis.Redis.from_url(redis_url)
    for number in range(3):
        assert claim_one(ledger, ticket, f"dead-{number}").crashes == max(0, number - 1)
        client.hdel(f"{ledger._prefix}entry:entry-1", "begun")
        ticket = lapse(ledger, clock).ticket
    client.close()


def test_a_crash_that_is_told_counts_at_once(ledger: Ledger) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    claim_one(ledger, ticket)
    ledger.retry([RetryLater("entry-1", 0, Spends.CRASH, "killed")], "token")
    (swept,) = ledger.sweep(10)
    assert swept.alone
    assert claim_one(ledger, swept.ticket).crashes == 1


def test_a_renewed_lease_does_not_lapse(ledger: Ledger, clock: Clock) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    claim_one(ledger, ticket)
    clock.now_ms += LEASE_MS - 1
    assert ledger.renew([("entry-1", "token"), ("entry-1", "foreign"), ("none", "token")]) == [True, False, False]
    clock.now_ms += LEASE_MS - 1
    assert ledger.sweep(10) == []
    clock.now_ms += 1
    assert len(ledger.sweep(10)) == 1


def test_an_attempt_that_lost_its_claim_can_do_nothing(ledger: Ledger, clock: Clock) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    claim_one(ledger, ticket, "late")
    clock.now_ms += LEASE_MS
    (swept,) = ledger.sweep(10)
    claim_one(ledger, swept.ticket, "next")
    debt = Debt("entry-1", Completion(ALICE, 5), "mid")
    assert ledger.owe([debt], "late") == [DebtStatus.LOST]
    assert ledger.fail([("entry-1", FinalFailure("C", "e", 1, 2))], "late") == [FailureStatus.LOST]
    assert ledger.retry([RetryLater("entry-1", 0, Spends.ATTEMPT, "")], "late") == [False]
    assert ledger.settle([Settlement("entry-1")], "late") == [0]
    assert ledger.open_count() == 1


def test_debts_outlive_the_attempt_that_recorded_them(ledger: Ledger, clock: Clock) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    claim_one(ledger, ticket)
    failure = FinalFailure("CODE", "text “quoted”", 3, 99)
    assert ledger.owe([Debt("entry-1", Completion(ALICE, 123), "mid")], "token") == [DebtStatus.OWED]
    assert ledger.fail([("entry-1", failure)], "token") == [FailureStatus.OWED]
    clock.now_ms += LEASE_MS
    claim = claim_one(ledger, ledger.sweep(10)[0].ticket)
    assert (claim.owed_ms, claim.failure) == (123, failure)


def test_who_owes_a_completion_goes_before_all_others_of_its_enrolment(ledger: Ledger, clock: Clock) -> None:
    """The attempt that was given up for lost may still write that completion: another must not make a second one."""
    claim_one(ledger, ledger.accept([request(1)]).tickets[0])
    (second,) = ledger.accept([request(2)]).tickets
    ledger.owe([Debt("entry-1", Completion(ALICE, 123), "mid")], "token")
    clock.now_ms += LEASE_MS
    swept = {it.ticket.entry_id: it.ticket for it in ledger.sweep(10)}
    assert set(swept) == {"entry-1", "entry-2"}
    assert ledger.claim([second, swept["entry-2"]], "second") == []
    assert claim_one(ledger, swept["entry-1"], "third").owed_ms == 123
    ledger.retry([RetryLater("entry-1", 60_000, Spends.WAIT, "Kafka is away")], "third")
    assert ledger.claim([it.ticket for it in ledger.sweep(10)], "fourth") == []
    clock.now_ms += 60_000
    for it in ledger.sweep(10):
        ledger.claim([it.ticket], "fifth")
    ledger.settle([Settlement("entry-1", "mid")], "fifth")
    assert claim_one(ledger, ledger.sweep(10)[0].ticket, "sixth").entry_id == "entry-2"


def test_a_paid_announcement_is_remembered(ledger: Ledger) -> None:
    first, second = ledger.accept([request(1), request(2, BOB)]).tickets
    claim_one(ledger, first)
    ledger.settle([Settlement("entry-1", "mid")], "token")
    claim_one(ledger, second)
    debts = [Debt("entry-2", Completion(BOB, 1), "mid"), Debt("entry-2", Completion(BOB, 2), "other")]
    assert ledger.owe(debts, "token") == [DebtStatus.PAID, DebtStatus.OWED]


def test_a_settled_ledger_holds_nothing_but_its_memory(ledger: Ledger, redis_url: str) -> None:
    tickets = ledger.accept([request(1), request(2), request(3, BOB)]).tickets
    ledger.claim(tickets, "token")
    ledger.settle([Settlement("entry-1", "mid-1"), Settlement("entry-3")], "token")
    with redis.Redis.from_url(redis_url) as client:
        prefix = ledger._prefix
        left = {key.decode().removeprefix(prefix) for key in client.scan_iter(f"{prefix}*")}
        assert left == {"paid:mid-1", "count"}
        assert client.get(f"{prefix}count") == b"0"
        assert 0 < client.ttl(f"{prefix}paid:mid-1") <= 1000


def test_out_of_memory_stops_acceptance_and_nothing_else(ledger: Ledger, redis_url: str) -> None:
    tickets = ledger.accept([request(1), request(2, BOB), request(3, EnrolmentKey("carol", "c", "b"))]).tickets
    identity = ledger.verify()
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(LedgerUnavailable, match="maxmemory"):
                ledger.accept([request(4)])
            assert len(ledger.claim(tickets, "token")) == 3
            assert ledger.renew([("entry-1", "token")]) == [True]
            assert ledger.owe([Debt("entry-1", Completion(ALICE, 5), "mid")], "token") == [DebtStatus.OWED]
            assert ledger.retry([RetryLater("entry-2", 0, Spends.ATTEMPT, "", "course:c")], "token") == [True]
            assert ledger.fail([("entry-3", FinalFailure("C", "e", 1, 2))], "token") == [FailureStatus.OWED]
            assert ledger.settle([Settlement("entry-1", "mid"), Settlement("entry-3")], "token") == [1, 1]
            assert [one.ticket.entry_id for one in ledger.sweep(10)] == ["entry-2"]
            assert ledger.verify().is_same_life(identity)
        finally:
            client.config_set("maxmemory", 0)


def test_two_groups_on_one_redis_never_meet(open_ledger: Callable[..., Ledger]) -> None:
    one, other = open_ledger(), open_ledger(group_id=f"other-{uuid.uuid4().hex}")
    (ticket,) = one.accept([request(1)]).tickets
    assert other.claim([ticket], "token") == []
    assert other.open_count() == 0
    assert len(other.accept([request(1)]).tickets) == 1


def test_an_entry_of_a_newer_release_is_left_waiting(ledger: Ledger, redis_url: str, clock: Clock) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    with redis.Redis.from_url(redis_url) as client:
        client.hset(f"{ledger._prefix}entry:entry-1", "version", 2)
    assert ledger.claim([ticket], "token") == []
    clock.now_ms += WAIT_MS
    assert len(ledger.sweep(10)) == 1


def test_the_server_s_own_clock_is_used_by_default(open_ledger: Callable[..., Ledger]) -> None:
    ledger = open_ledger(sweep_after=0.0)
    ledger._connection._clock_ms = None
    ledger.accept([request(1)])
    assert [one.ticket.entry_id for one in ledger.sweep(10)] == ["entry-1"]


def test_a_redis_that_may_evict_is_refused(ledger: Ledger, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            with pytest.raises(SettingsError, match=r"LEDGER_REDIS_URL.*allkeys-lru.*noeviction"):
                ledger.verify()
        finally:
            client.config_set("maxmemory-policy", "noeviction")


def test_a_redis_that_became_a_replica_is_left(ledger: Ledger, redis_url: str) -> None:
    identity = ledger.verify()
    before = ledger._redis.client_id()
    with redis.Redis.from_url(redis_url) as client:
        # of a master that is not there: it keeps its data, its run id and its connections
        client.replicaof(HOST, free_port())
        try:
            with pytest.raises(LedgerUnavailable, match=r"is a replica.*LEDGER_REDIS_URL"):
                ledger.verify()
            with pytest.raises(LedgerUnavailable, match=r"(?i)read.?only"):
                ledger.accept([request(1)])
        finally:
            client.replicaof("NO", "ONE")
    assert ledger._redis.client_id() != before
    assert ledger.verify() == identity
    assert len(ledger.accept([request(1)]).tickets) == 1


def test_the_identity_stays_until_the_data_goes(ledger: Ledger, redis_url: str) -> None:
    before = ledger.verify()
    assert ledger.verify() == before
    with redis.Redis.from_url(redis_url) as client:
        client.delete(f"{ledger._prefix}epoch")
    after = ledger.verify()
    assert 0 <= before.uptime <= after.uptime
    assert (after.run_id, after.epoch != before.epoch) == (before.run_id, True)


def test_a_redis_that_is_away_is_said_to_be(open_ledger: Callable[..., Ledger]) -> None:
    away = open_ledger(url="redis://127.0.0.1:1/0", timeout=0.5)
    for step in (away.verify, lambda: away.accept([request(1)]), lambda: away.sweep(1), away.open_count):
        with pytest.raises(LedgerUnavailable, match="Redis"):
            step()
