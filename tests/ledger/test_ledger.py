"""The ledger's steps on a real Redis, with a clock that the test moves."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
import redis

from ledger.connection import LedgerConfig
from ledger.entries import Claim, RetryLater, Settlement, Spends, SweepReason, Ticket
from ledger.ledger import Ledger
from reconciliation.errors import LedgerUnavailable, SettingsError
from reconciliation.model import (
    Completion,
    Debt,
    DebtStatus,
    EnrolmentKey,
    FinalFailure,
    Origin,
    Record,
    SyncRequest,
)

LEASE_MS = 60_000
WAIT_MS = 15_000
ALICE = EnrolmentKey("alice", "course", "batch")
BOB = EnrolmentKey("bob", "course", "batch")


@dataclass
class Clock:
    now_ms: int = 1_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_ledger(redis_url: str, clock: Clock) -> Iterator[Callable[..., Ledger]]:
    opened: list[Ledger] = []
    group_id = f"group-{uuid.uuid4().hex}"

    def open_one(**changes: object) -> Ledger:
        config = LedgerConfig(
            url=redis_url,
            group_id=group_id,
            max_open=10,
            lease=LEASE_MS / 1000,
            sweep_after=WAIT_MS / 1000,
            sweep_max_wait=600,
            paid_memory=1000,
            timeout=5,
        )
        opened.append(Ledger(replace(config, **changes), clock))  # type: ignore[arg-type]  # test data
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def ledger(open_ledger: Callable[..., Ledger]) -> Ledger:
    return open_ledger()


def request(offset: int, enrolment: EnrolmentKey = ALICE, *, repeated: bool = False, at: int = 500) -> SyncRequest:
    record = Record(Origin("requests", 0, offset, at), b"key", b'{"event":1}', (("h", b"\xff"), ("n", None)))
    return SyncRequest(f"entry-{offset}", enrolment, record, repeated)


def claim_one(ledger: Ledger, ticket: Ticket, token: str = "token") -> Claim:
    (claim,) = ledger.claim([ticket], token)
    return claim


def test_a_request_comes_out_of_a_claim_as_it_went_in(ledger: Ledger) -> None:
    acceptance = ledger.accept([request(7, EnrolmentKey('a"\n', "курс", "b,]"), repeated=True)])
    claim = claim_one(ledger, acceptance.tickets[0])
    assert claim.request == request(7, EnrolmentKey('a"\n', "курс", "b,]"), repeated=True)
    assert (claim.attempts, claim.waits, claim.crashes, claim.owed_ms, claim.failure) == (0, 0, 0, None, None)
    assert claim.attempt().requested_ms == 500


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


def test_repeats_of_a_waiting_enrolment_collapse_and_close_with_it(ledger: Ledger) -> None:
    acceptance = ledger.accept([request(1), request(2), request(3, BOB), request(4)])
    assert [ticket.entry_id for ticket in acceptance.tickets] == ["entry-1", "entry-3"]
    assert (acceptance.accepted, acceptance.collapsed, ledger.open_count()) == (4, 2, 4)
    claim_one(ledger, acceptance.tickets[0])
    assert ledger.settle([Settlement("entry-1")], "token") == [3]
    assert ledger.open_count() == 1
    assert ledger.oldest_open("requests", 0) == 3


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


def test_nobody_joins_a_request_that_is_given_up_already(ledger: Ledger) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    claim_one(ledger, ticket)
    ledger.owe_failures([("entry-1", FinalFailure("CODE", "text", 1, 2))], "token")
    ledger.retry([RetryLater("entry-1", 60_000, Spends.WAIT, "Kafka is away")], "token")
    assert [one.entry_id for one in ledger.accept([request(2)]).tickets] == ["entry-2"]
    assert ledger.accept([request(3)]).collapsed == 1


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


def test_a_lapsed_group_goes_on_as_singles_and_nobody_is_blamed(ledger: Ledger, clock: Clock) -> None:
    tickets = ledger.accept([request(1), request(2, BOB)]).tickets
    ledger.claim(tickets, "dead")
    clock.now_ms += LEASE_MS
    swept = ledger.sweep(10)
    assert [(one.alone, one.why) for one in swept] == [(True, SweepReason.LAPSED)] * 2
    assert [claim.crashes for claim in ledger.claim([one.ticket for one in swept], "next")] == [0, 0]


def test_an_attempt_lost_alone_counts_as_a_crash(ledger: Ledger, clock: Clock) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    for crashes in range(3):
        assert claim_one(ledger, ticket, f"dead-{crashes}").crashes == crashes
        clock.now_ms += LEASE_MS
        ((swept),) = ledger.sweep(10)
        ticket = swept.ticket


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
    assert ledger.owe_failures([("entry-1", FinalFailure("C", "e", 1, 2))], "late") == [DebtStatus.LOST]
    assert ledger.retry([RetryLater("entry-1", 0, Spends.ATTEMPT, "")], "late") == [False]
    assert ledger.settle([Settlement("entry-1")], "late") == [0]
    assert ledger.open_count() == 1


def test_debts_outlive_the_attempt_that_recorded_them(ledger: Ledger, clock: Clock) -> None:
    (ticket,) = ledger.accept([request(1)]).tickets
    claim_one(ledger, ticket)
    failure = FinalFailure("CODE", "text “quoted”", 3, 99)
    assert ledger.owe([Debt("entry-1", Completion(ALICE, 123), "mid")], "token") == [DebtStatus.OWED]
    assert ledger.owe_failures([("entry-1", failure)], "token") == [DebtStatus.OWED]
    clock.now_ms += LEASE_MS
    claim = claim_one(ledger, ledger.sweep(10)[0].ticket)
    assert (claim.owed_ms, claim.failure) == (123, failure)


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
    ledger._clock_ms = None
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


def test_the_identity_stays_until_the_data_goes(ledger: Ledger, redis_url: str) -> None:
    before = ledger.verify()
    assert ledger.verify() == before
    with redis.Redis.from_url(redis_url) as client:
        client.delete(f"{ledger._prefix}epoch")
    after = ledger.verify()
    assert (after.run_id, after.epoch != before.epoch) == (before.run_id, True)


def test_a_redis_that_is_away_is_said_to_be(open_ledger: Callable[..., Ledger]) -> None:
    away = open_ledger(url="redis://127.0.0.1:1/0", timeout=0.5)
    for step in (away.verify, lambda: away.accept([request(1)]), lambda: away.sweep(1), away.open_count):
        with pytest.raises(LedgerUnavailable, match="Redis"):
            step()
