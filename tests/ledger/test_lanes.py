"""Bulk runs' requests beside clicks, on a real Redis: their lane, their bounds, their counts."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import redis

from bulk.runs import MOST_DRIVEN, MOST_KEPT, DrivenRun, Run, RunCounts, RunRefused, RunState, RunStore
from bulk.submission import Submission
from ledger.connection import LedgerConfig, LedgerConnection
from ledger.entries import FailureStatus, Occupancy, RetryLater, Settlement, Spends, SweepReason, Ticket
from ledger.ledger import Ledger
from ledger.operations import Operations
from ledger.pauses import course_scope
from reconciliation.errors import Interrupted, PublishFailed
from reconciliation.model import Completion, Debt, EnrolmentKey, FinalFailure, Origin, Record, SyncRequest
from tests.ledger.steps import ALICE, BOB, LEASE_MS, WAIT_MS, Clock, claim_one, request

RUN = "20260131-143005-3fa2"
FAILURE = FinalFailure("CODE", "text", 1, 2)


def learners(count: int) -> list[EnrolmentKey]:
    return [EnrolmentKey(f"learner-{number}", "course", "batch") for number in range(count)]


def of_run(offset: int, enrolment: EnrolmentKey = ALICE, run: str = RUN) -> SyncRequest:
    record = Record(Origin(f"bulk:{run}", 0, offset, 500), b"key", b'{"event":1}')
    return SyncRequest(f"{run}-{offset}", enrolment, record, run=run)


@pytest.fixture
def store(config: LedgerConfig, clock: Clock) -> RunStore:
    return RunStore(LedgerConnection(config, clock), lease=60)


def run(run_id: str = RUN) -> Run:
    return Run(run_id, '{"course": "do_1"}', "{}", started_ms=1_000_000)


def test_a_run_s_request_goes_in_its_lane_and_repairs(ledger: Ledger) -> None:
    (ticket,) = ledger.accept([of_run(1)]).tickets
    assert (ticket.run, ticket.course_id) == (RUN, "course")
    claim = claim_one(ledger, ticket)
    assert claim.request == of_run(1)
    assert claim.attempt().repairing
    assert not claim_one(ledger, ledger.accept([request(1, BOB)]).tickets[0], "other").attempt().repairing


def test_a_click_takes_what_is_owed_before_it_out_of_the_lane(ledger: Ledger, clock: Clock) -> None:
    (behind,) = ledger.accept([of_run(1)]).tickets
    claim_one(ledger, behind, "dies")
    ledger.owe([Debt(behind.entry_id, Completion(ALICE, 77), "mid")], "dies")
    (click,) = ledger.accept([request(7)]).tickets
    clock.now_ms += LEASE_MS + 1
    (lapsed,) = [swept for swept in ledger.sweep(10) if swept.ticket.entry_id == behind.entry_id]
    assert lapsed.ticket.run == RUN
    # nobody takes from the run's queue; the click is refused by what is owed before it
    assert ledger.claim([click], "token") == []
    (forward,) = ledger.sweep(10)
    assert (forward.ticket.entry_id, forward.ticket.run) == (behind.entry_id, "")
    assert claim_one(ledger, forward.ticket, "pays").owed_ms == 77
    assert ledger.settle([Settlement(behind.entry_id, "mid")], "pays") == [1]
    (woken,) = ledger.sweep(10)
    assert woken.ticket.entry_id == click.entry_id
    claim_one(ledger, woken.ticket)


def test_what_is_owed_before_a_click_keeps_its_time_as_it_leaves_the_lane(ledger: Ledger, clock: Clock) -> None:
    (behind,) = ledger.accept([of_run(1)]).tickets
    claim_one(ledger, behind)
    ledger.owe([Debt(behind.entry_id, Completion(ALICE, 77), "mid")], "token")
    (click,) = ledger.accept([request(7)]).tickets
    ledger.retry([RetryLater(behind.entry_id, 5_000, Spends.WAIT, "Kafka is away")], "token")
    assert ledger.claim([click], "other") == []
    assert ledger.sweep(10) == []
    clock.now_ms += 5_000
    (forward,) = ledger.sweep(10)
    assert (forward.ticket.entry_id, forward.ticket.run) == (behind.entry_id, "")


def test_a_click_takes_what_waits_out_of_the_lane(ledger: Ledger) -> None:
    (behind,) = ledger.accept([of_run(1)]).tickets
    acceptance = ledger.accept([request(7), request(8)])
    assert (acceptance.accepted, acceptance.collapsed) == (2, 2)
    (ahead,) = acceptance.tickets
    assert (ahead.entry_id, ahead.run, ahead.generation) == (behind.entry_id, "", behind.generation + 1)
    assert ledger.claim([behind], "worker of the run's queue") == []
    claim = claim_one(ledger, ahead)
    assert claim.request.run == ""
    assert claim.repairing, "the run's request is answered too"
    assert ledger.settle([Settlement(ahead.entry_id)], "token") == [3]


def test_a_click_accepted_again_has_the_same_message_sent(ledger: Ledger) -> None:
    ledger.accept([of_run(1)])
    first = ledger.accept([request(7), request(8)])
    # the broker was away: nothing was sent, and the whole list comes again
    assert ledger.accept([request(7), request(8)]).tickets == first.tickets
    claim_one(ledger, first.tickets[0])
    assert ledger.accept([request(7), request(8)]).tickets == ()


def test_what_waits_for_its_next_try_leaves_the_lane_and_keeps_its_time(ledger: Ledger, clock: Clock) -> None:
    claim_one(ledger, ledger.accept([of_run(1)]).tickets[0])
    ledger.retry([RetryLater(of_run(1).entry_id, 30_000, Spends.ATTEMPT, "why")], "token")
    assert ledger.accept([request(7)]).tickets == ()
    assert ledger.sweep(10) == []
    clock.now_ms += 30_000
    (swept,) = ledger.sweep(10)
    assert (swept.ticket.run, swept.alone) == ("", True)


def test_what_must_go_alone_leaves_the_lane_with_the_next_sweep(ledger: Ledger) -> None:
    claim_one(ledger, ledger.accept([of_run(1)]).tickets[0])
    ledger.retry([RetryLater(of_run(1).entry_id, 0, Spends.ATTEMPT, "why")], "token")
    (behind,) = ledger.sweep(10)
    assert behind.ticket.run == RUN
    assert ledger.accept([request(7)]).tickets == ()
    (ahead,) = ledger.sweep(10)
    assert (ahead.ticket.entry_id, ahead.ticket.run, ahead.alone) == (behind.ticket.entry_id, "", True)
    # either may begin the attempt, and one of them does
    assert claim_one(ledger, behind.ticket, "first").request.entry_id == of_run(1).entry_id
    assert ledger.claim([ahead.ticket], "second") == []


def test_a_click_for_what_is_paused_leaves_the_lane_and_waits_for_the_end(
    ledger: Ledger, operations: Operations
) -> None:
    operations.pause([course_scope("course")], "")
    assert ledger.accept([of_run(1)]).tickets == ()
    assert ledger.accept([request(7)]).tickets == ()
    operations.end_pauses([course_scope("course")])
    (swept,) = ledger.sweep(10)
    assert swept.ticket.run == ""


def test_a_run_s_request_joins_a_click_that_waits_and_repairs_with_it(ledger: Ledger) -> None:
    (ticket,) = ledger.accept([request(7)]).tickets
    acceptance = ledger.accept([of_run(1)])
    assert (acceptance.tickets, acceptance.collapsed) == ((), 1)
    claim = claim_one(ledger, ticket)
    assert (claim.request.run, claim.repairing) == ("", True)
    assert ledger.open_of_runs() == {RUN: 1}
    assert ledger.settle([Settlement(ticket.entry_id)], "token") == [2]
    assert ledger.open_of_runs() == {}


def test_the_sweep_gives_a_lane_s_message_more_time(ledger: Ledger, clock: Clock) -> None:
    ledger.accept([of_run(1), request(2, BOB)])
    clock.now_ms += WAIT_MS
    (click,) = ledger.sweep(10)
    assert click.ticket.run == ""
    clock.now_ms += 3 * WAIT_MS
    found = {swept.ticket.run: swept for swept in ledger.sweep(10)}
    assert found[RUN].why is SweepReason.UNCLAIMED


def test_a_lapsed_attempt_goes_on_in_its_lane(ledger: Ledger, clock: Clock) -> None:
    ledger.claim(ledger.accept([of_run(1), of_run(2, BOB)]).tickets, "dead")
    clock.now_ms += LEASE_MS
    assert [(swept.ticket.run, swept.alone) for swept in ledger.sweep(10)] == [(RUN, True)] * 2


def test_a_run_has_its_own_bound_and_takes_no_room_from_clicks(open_ledger: Callable[..., Ledger]) -> None:
    ledger = open_ledger(max_open=2, max_open_of_run=3)
    assert ledger.accept([of_run(n, it) for n, it in enumerate(learners(5))]).accepted == 3
    assert ledger.accept([of_run(n, it, "other-run") for n, it in enumerate(learners(9)[5:], 5)]).accepted == 3
    assert ledger.occupancy() == Occupancy(open=6, counted=0)
    clicks = [request(n, EnrolmentKey(f"clicker-{n}", "course", "batch")) for n in range(3)]
    assert ledger.accept(clicks).accepted == 2
    # and a ledger that is full of clicks takes nothing more of runs either
    assert ledger.accept([of_run(99, BOB, "third-run")]).accepted == 0


def test_what_a_run_submits_again_is_known_also_where_it_joined_another(ledger: Ledger) -> None:
    ledger.accept([request(7)])
    page = [of_run(1), of_run(2, BOB)]
    first = ledger.accept(page)
    assert (first.accepted, first.collapsed, ledger.open_count()) == (2, 1, 3)
    assert ledger.accept(page).accepted == 2
    assert ledger.open_count() == 3


def test_a_topic_of_kafka_called_bulk_is_no_run(ledger: Ledger) -> None:
    record = Record(Origin("bulk", 0, 5, 500), b"key", b"{}")
    ledger.accept([SyncRequest("entry", ALICE, record)])
    assert ledger.occupancy() == Occupancy(open=1, counted=1)
    assert ledger.open_of_runs() == {}


def test_what_of_a_run_waits_for_its_course_is_let_off_once(open_ledger: Callable[..., Ledger]) -> None:
    ledger = open_ledger(max_open=10, max_waiting=4)
    ledger.claim(ledger.accept([of_run(n, it) for n, it in enumerate(learners(3))]).tickets, "token")
    ledger.retry([RetryLater(of_run(n).entry_id, 0, Spends.ATTEMPT, "", "course:course") for n in range(3)], "token")
    assert ledger.occupancy() == Occupancy(open=3, counted=0)
    # a click that joins waits with it, and is let off as one that waits for its course
    ledger.accept([request(7, learners(1)[0])])
    assert ledger.occupancy() == Occupancy(open=4, counted=0)
    swept = ledger.sweep(10)
    ledger.claim([it.ticket for it in swept], "next")
    assert ledger.occupancy() == Occupancy(open=4, counted=1)
    ledger.settle([Settlement(it.ticket.entry_id) for it in swept], "next")
    assert ledger.occupancy() == Occupancy(open=0, counted=0)


def give_up(ledger: Ledger, tickets: tuple[Ticket, ...]) -> list[FailureStatus]:
    ledger.claim(tickets, "token")
    statuses = ledger.fail([(ticket.entry_id, FAILURE) for ticket in tickets], "token")
    ledger.settle([Settlement(ticket.entry_id, given_up=True) for ticket in tickets], "token")
    return statuses


def test_what_a_run_gives_up_does_not_stop_the_clicks(ledger: Ledger, store: RunStore) -> None:
    store.begin(run(), "mine", "me", "life")
    page = learners(9)
    # five a minute may be given up here
    assert give_up(ledger, ledger.accept([of_run(n, it) for n, it in enumerate(page)]).tickets) == ["owed"] * 9
    assert ledger.failures_held_ms() == 0
    assert store.counts(RUN) == RunCounts(submitted=9, given_up=9)
    assert give_up(ledger, ledger.accept([request(n, it) for n, it in enumerate(page)]).tickets)[-1] == "held"
    # what clicks have stopped is stopped for runs too
    (ticket,) = ledger.accept([of_run(99, BOB)]).tickets
    ledger.claim([ticket], "token")
    assert ledger.fail([(ticket.entry_id, FAILURE)], "token") == ["held"]


def test_requests_are_counted_for_their_run(ledger: Ledger, store: RunStore) -> None:
    store.begin(run(), "mine", "me", "life")
    (click,) = ledger.accept([request(7)]).tickets
    joined, own = of_run(1), of_run(2, BOB)
    (ticket,) = ledger.accept([joined, own]).tickets
    assert store.counts(RUN) == RunCounts(submitted=2, collapsed=1, open=2)
    ledger.accept([joined, own])
    assert store.counts(RUN).submitted == 2
    claim_one(ledger, click)
    ledger.settle([Settlement(click.entry_id, given_up=True)], "token")
    claim_one(ledger, ticket)
    ledger.settle([Settlement(ticket.entry_id)], "token")
    assert store.counts(RUN) == RunCounts(submitted=2, collapsed=1, given_up=1)
    assert store.counts(RUN).settled == 1


def test_a_run_is_driven_by_one_process(store: RunStore, clock: Clock) -> None:
    driven = store.begin(run(), "mine", "process 1 on here", "life")
    with pytest.raises(RunRefused, match="process 1 on here"):
        store.resume(RUN, "theirs", "process 2", "life")
    clock.now_ms += 59_000
    driven.save(checkpoint=12, looked_at=100)
    clock.now_ms += 59_000
    with pytest.raises(RunRefused):
        store.resume(RUN, "theirs", "process 2", "life")
    clock.now_ms += 2_000
    # nobody asked: a lease that lapsed is still ours
    driven.save(found=7)
    clock.now_ms += 61_000
    other = store.resume(RUN, "theirs", "process 2", "life")
    assert (other.run.checkpoint, other.run.looked_at, other.run.found) == (12, 100, 7)
    with pytest.raises(RunRefused, match="process 2"):
        driven.save(found=8)
    other.end(RunState.INTERRUPTED, 5, "asked")
    third = store.resume(RUN, "third", "process 3", "life")
    assert (third.run.found, third.run.state, third.was_other_life) == (7, RunState.INTERRUPTED, False)


@dataclass
class Waiting:
    """An operator for whom each pause takes 20 seconds, and who wants an end after ten of them."""

    clock: Clock
    pauses: int = 0

    @property
    def is_asked(self) -> bool:
        return self.pauses >= 10

    def pause(self, _seconds: float) -> None:
        self.pauses += 1
        self.clock.now_ms += 20_000


@pytest.mark.parametrize("waits_for", ["Kafka", "its rate"])
def test_a_run_stays_its_driver_s_however_long_it_waits(
    ledger: Ledger, store: RunStore, clock: Clock, waits_for: str
) -> None:
    begun = store.begin(run(), "mine", "process 1 on here", "life")
    driven = DrivenRun(store, begun.run, "mine", "life", was_other_life=False, clock=lambda: clock.now_ms / 1000)

    operator = Waiting(clock)
    submission = Submission(
        ledger=ledger,
        driven=driven,
        sender=None,  # type: ignore[arg-type]  # nothing is submitted
        interruption=operator,
        rate=0.001,
    )

    def publish() -> None:
        raise PublishFailed("away")

    if waits_for == "Kafka":
        with pytest.raises(Interrupted):
            submission.insist(publish)
    else:
        submission.spend(1)
        assert submission.portion(1) == 0
    # three times its lease
    assert operator.pauses == 10
    with pytest.raises(RunRefused, match="process 1 on here"):
        store.resume(RUN, "theirs", "process 2", "life")


def test_a_run_that_is_left_in_another_life_of_the_ledger_says_so(store: RunStore) -> None:
    store.begin(run(), "mine", "me", "epoch server-1").end(RunState.INTERRUPTED, 5)
    assert store.resume(RUN, "mine", "me", "epoch server-2").was_other_life


def test_a_run_that_the_ledger_lost_says_so_and_what_to_do(
    store: RunStore, config: LedgerConfig, redis_url: str
) -> None:
    driven = store.begin(run(), "mine", "me", "life")
    with redis.Redis.from_url(redis_url) as client:
        client.delete(f"enrolment-reconciliation:{{{config.group_id}}}:bulk:run:{RUN}")
    with pytest.raises(RunRefused, match="Begin a new run"):
        driven.save(found=1)


def test_runs_are_refused_that_are_not_there_or_there_already_or_done(store: RunStore) -> None:
    with pytest.raises(RunRefused, match="there is no run"):
        store.resume(RUN, "mine", "me", "life")
    store.begin(run(), "mine", "me", "life").end(RunState.FINISHED, 5)
    with pytest.raises(RunRefused, match="there is a run"):
        store.begin(run(), "theirs", "them", "life")
    with pytest.raises(RunRefused, match="finished"):
        store.resume(RUN, "mine", "me", "life")
    with pytest.raises(RunRefused, match="letters"):
        store.begin(run("a:b"), "mine", "me", "life")


def test_only_so_many_runs_are_driven_at_once(store: RunStore) -> None:
    driven = [store.begin(run(f"run-{n}"), f"token-{n}", "me", "life") for n in range(MOST_DRIVEN)]
    with pytest.raises(RunRefused, match="no more may be"):
        store.begin(run("one-more"), "mine", "me", "life")
    driven[0].end(RunState.INTERRUPTED, 5)
    store.begin(run("one-more"), "mine", "me", "life")


def test_the_latest_runs_are_kept(store: RunStore, clock: Clock) -> None:
    first = store.begin(run("driven"), "mine", "me", "life")
    for number in range(MOST_KEPT + 5):
        clock.now_ms += 1
        first.save()
        store.begin(run(f"run-{number}"), "other", "me", "life").end(RunState.FINISHED, 5)
    names = [standing.run.run_id for standing in store.list()]
    assert names[0] == f"run-{MOST_KEPT + 4}"
    assert "driven" in names, "what is driven is never forgotten"
    assert "run-0" not in names
    assert MOST_KEPT <= len(names) <= MOST_KEPT + 1
