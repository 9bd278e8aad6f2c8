"""The ledger under every order of events that hypothesis can think of, on a real Redis.

Bridges accept and may die before they commit, messages are lost, doubled and late, workers vanish at any step,
operators pause and forget, and bulk runs submit beside. The model knows only what people are promised: whatever was
accepted is settled by an attempt that began after it was accepted, there is one attempt per enrolment at a time, none
begins while another request owes the enrolment's completion, none while it is paused, no click waits in a bulk run's
lane or for what does, and in the end nothing is left.
"""

import uuid
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from devstack.ports import Ports
from ledger.connection import LedgerConfig, LedgerConnection
from ledger.entries import Claim, FailureStatus, RetryLater, Settlement, Spends, Ticket
from ledger.ledger import Ledger
from ledger.operations import Operations
from ledger.pauses import DRAIN, EVERYTHING, batch_scope, course_scope
from reconciliation.model import Completion, Debt, DebtStatus, EnrolmentKey, FinalFailure, Origin, Record, SyncRequest

#: Nobody else's: all its keys are looked through after every step.
DATABASE = 9
LEASE = 60
BOUND = 12
BESIDE = 6
BOUND_OF_RUN = 4
RUNS = ["run-1", "run-2"]
CLICKS = "requests"
LEARNERS = [EnrolmentKey(f"learner-{n}", f"course-{n % 2}", f"batch-{n % 3}") for n in range(4)]
SCOPES = [EVERYTHING, DRAIN, course_scope("course-0"), course_scope("course-1"), batch_scope("batch-0")]


@dataclass
class Attempt:
    """A worker's attempt, alive until it ends or vanishes; `began` is the model's time of its claim."""

    claim: Claim
    began: int
    leased_until: int


@dataclass
class World:
    now_ms: int = 1_000_000
    tick: int = 0
    # the model's time at which each offset of a topic was accepted, and the learner that it asks for
    open: dict[tuple[str, int], tuple[int, EnrolmentKey]] = field(default_factory=dict)
    # which of these were read again, as those that may have been answered before
    repeated: set[tuple[str, int]] = field(default_factory=set)
    # of whom one was read again that has no entry of its own, since it joined another
    joined_again: set[EnrolmentKey] = field(default_factory=set)
    messages: list[list[Ticket]] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    # which entry recorded a completion of an enrolment, and left it so
    owing: dict[EnrolmentKey, str] = field(default_factory=dict)
    # what operators paused
    paused: set[str] = field(default_factory=set)

    def of_run(self, run: str) -> int:
        return sum(topic == f"bulk:{run}" for topic, _ in self.open)

    def keeps_back(self, learner: EnrolmentKey) -> bool:
        scopes = {EVERYTHING, course_scope(learner.course_id), batch_scope(learner.batch_id)}
        return bool(scopes & self.paused)


class LedgerMachine(RuleBasedStateMachine):
    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.next_offset = 0
        config = LedgerConfig(
            url=self.url,
            group_id=uuid.uuid4().hex,
            max_open=BOUND,
            max_waiting=BESIDE,
            failures_per_minute=3,
            lease=LEASE,
            sweep_after=15,
            sweep_max_wait=120,
            sweep_rate=1000,
            paid_memory=100,
            timeout=60,
            max_open_of_run=BOUND_OF_RUN,
        )
        self.ledger = Ledger(config, lambda: self.world.now_ms)
        self.operations = Operations(LedgerConnection(config, lambda: self.world.now_ms))
        # looked through after every step: a client of its own for each look would take longer than the steps
        self.redis: Any = redis.Redis.from_url(self.url, decode_responses=True)

    def teardown(self) -> None:
        try:
            self.settle_everything()
        finally:
            for key in self.redis.scan_iter(f"{self.ledger._prefix}*", count=1000):
                self.redis.delete(key)
            self.redis.close()
            self.ledger.close()
            self.operations.close()

    # what operators do

    @rule(scope=st.sampled_from(SCOPES))
    def pause(self, scope: str) -> None:
        assert self.operations.pause([scope], "reason") == []
        self.world.paused.add(scope)

    @precondition(lambda self: self.world.paused)
    @rule(data=st.data())
    def end_a_pause(self, data: st.DataObject) -> None:
        scope = data.draw(st.sampled_from(sorted(self.world.paused)))
        assert self.operations.end_pauses([scope]) == [scope]
        self.world.paused.remove(scope)

    @rule(learner=st.sampled_from(LEARNERS))
    def forget(self, learner: EnrolmentKey) -> None:
        entries, named = self.operations.entries_of(learner.user_id)
        found = dict.fromkeys([*((entry.entry_id, entry.enrolment) for entry in entries), *named])
        closed = self.operations.forget(found)
        theirs = [place for place, (_, asks_for) in self.world.open.items() if asks_for == learner]
        assert sum(closed) == len(theirs)
        for place in theirs:
            del self.world.open[place]
            self.world.repeated.discard(place)
        for attempt in self.world.attempts:
            if attempt.claim.request.enrolment == learner:
                # whoever is at it has lost its claim
                attempt.leased_until = self.world.now_ms
        for name in ("waiting", "running"):
            assert not [it for it in self.redis.hkeys(self.ledger._prefix + name) if learner.user_id in it]

    # what bridges do

    @rule(learners=st.lists(st.sampled_from(LEARNERS), min_size=1, max_size=5), is_sent=st.booleans())
    def accept(self, learners: list[EnrolmentKey], is_sent: bool) -> None:
        requests = [self.request(self.next_offset + at, learner) for at, learner in enumerate(learners)]
        free = max(0, BOUND - self.ledger.occupancy().counted)
        acceptance = self.ledger.accept(requests)
        assert acceptance.stopped is bool(self.world.paused & {EVERYTHING, DRAIN})
        if acceptance.stopped:
            assert acceptance.accepted == 0
        elif not self.world.paused:
            assert acceptance.accepted == min(len(requests), free)
        else:
            # what is kept back may not count
            assert acceptance.accepted >= min(len(requests), free)
        self.take_in(requests[: acceptance.accepted], acceptance.tickets, is_sent)
        self.next_offset += acceptance.accepted
        for ticket in acceptance.tickets:
            assert not self.world.keeps_back(self.learner_of(ticket))
            assert not ticket.run

    @rule(
        run=st.sampled_from(RUNS),
        learners=st.lists(st.sampled_from(LEARNERS), min_size=1, max_size=5),
        is_sent=st.booleans(),
    )
    def submit(self, run: str, learners: list[EnrolmentKey], is_sent: bool) -> None:
        requests = [self.request(self.next_offset + at, learner, run) for at, learner in enumerate(learners)]
        free = max(0, BOUND_OF_RUN - self.world.of_run(run))
        before = self.ledger.occupancy().counted
        acceptance = self.ledger.accept(requests)
        if acceptance.stopped or before >= BOUND:
            assert acceptance.accepted == 0
        else:
            assert acceptance.accepted == min(len(requests), free)
        assert self.ledger.occupancy().counted == before, "a run takes no room from clicks"
        self.take_in(requests[: acceptance.accepted], acceptance.tickets, is_sent)
        self.next_offset += acceptance.accepted
        for ticket in acceptance.tickets:
            assert not self.world.keeps_back(self.learner_of(ticket))
            assert ticket.run == run

    @precondition(lambda self: self.world.open)
    @rule(data=st.data(), is_sent=st.booleans(), is_repeated=st.booleans())
    def accept_again_what_is_open(self, data: st.DataObject, is_sent: bool, is_repeated: bool) -> None:
        topic, offset = place = data.draw(st.sampled_from(sorted(self.world.open)))
        request = replace(
            self.request(offset, self.world.open[place][1], topic.removeprefix("bulk:") if topic != CLICKS else ""),
            repeated=is_repeated,
        )
        if is_repeated and self.has_an_entry(topic, offset):
            # what joined it is read again after it
            self.world.repeated.add(place)
        elif is_repeated:
            self.world.joined_again.add(request.enrolment)
        acceptance = self.ledger.accept([request])
        assert acceptance.accepted == 1
        assert self.ledger.open_count() == len(self.world.open)
        if is_sent and acceptance.tickets:
            self.world.messages.append(list(acceptance.tickets))

    @rule(is_sent=st.booleans())
    def sweep(self, is_sent: bool) -> None:
        for swept in self.ledger.sweep(100):
            assert not self.world.keeps_back(self.learner_of(swept.ticket))
            if is_sent:
                self.world.messages.append([swept.ticket])

    # what the broker does

    @precondition(lambda self: self.world.messages)
    @rule(data=st.data())
    def lose_a_message(self, data: st.DataObject) -> None:
        self.world.messages.pop(data.draw(st.integers(0, len(self.world.messages) - 1)))

    # what workers do

    @precondition(lambda self: self.world.messages)
    @rule(data=st.data(), is_answered=st.booleans(), comes_again=st.booleans())
    def claim(self, data: st.DataObject, is_answered: bool, comes_again: bool) -> None:
        tickets = data.draw(st.sampled_from(self.world.messages))
        if not comes_again:
            self.world.messages.remove(tickets)
        token = uuid.uuid4().hex
        claims = self.ledger.claim(tickets, token)
        if not is_answered:
            assert self.ledger.claim(tickets, token) == claims
        self.world.tick += 1
        for claim in claims:
            self.begin(claim)
        for ticket in tickets:
            self.check_it_waits_for_no_run(ticket)

    @precondition(lambda self: self.world.attempts)
    @rule()
    def a_lease_lapses_and_another_worker_goes_on(self) -> None:
        self.world.now_ms += (LEASE + 1) * 1000
        self.world.tick += 1
        for swept in self.ledger.sweep(100):
            for claim in self.ledger.claim([swept.ticket], uuid.uuid4().hex):
                self.begin(claim)

    @precondition(lambda self: self.world.attempts)
    @rule(data=st.data())
    def vanish(self, data: st.DataObject) -> None:
        self.world.attempts.remove(data.draw(st.sampled_from(self.world.attempts)))

    @precondition(lambda self: self.world.attempts)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        attempt = data.draw(st.sampled_from(self.world.attempts))
        (held,) = self.ledger.renew([(attempt.claim.entry_id, attempt.claim.token)])
        if held:
            attempt.leased_until = self.world.now_ms + LEASE * 1000

    @precondition(lambda self: self.world.attempts)
    @rule(
        data=st.data(),
        spends=st.sampled_from(Spends),
        delay_ms=st.integers(0, 30_000),
        waits_for=st.sampled_from(["", "course:a", "server:b"]),
    )
    def retry(self, data: st.DataObject, spends: Spends, delay_ms: int, waits_for: str) -> None:
        attempt = data.draw(st.sampled_from(self.world.attempts))
        later = RetryLater(attempt.claim.entry_id, delay_ms, spends, "reason", waits_for)
        (ours,) = self.ledger.retry([later], attempt.claim.token)
        assert ours or attempt.leased_until <= self.world.now_ms
        self.world.attempts.remove(attempt)

    @precondition(lambda self: self.world.attempts)
    @rule(data=st.data(), is_settled=st.booleans())
    def fail(self, data: st.DataObject, is_settled: bool) -> None:
        attempt = data.draw(st.sampled_from(self.world.attempts))
        claim = attempt.claim
        (status,) = self.ledger.fail([(claim.entry_id, FinalFailure("CODE", "text", 1, 2))], claim.token)
        assert status is not FailureStatus.LOST or attempt.leased_until <= self.world.now_ms
        if status is FailureStatus.HELD:
            assert claim.failure is None, "what was recorded once is recorded"
            assert self.ledger.failures_held_ms() > 0
        if status is FailureStatus.OWED and is_settled:
            self.end(attempt)
        else:
            self.world.attempts.remove(attempt)

    @precondition(lambda self: self.world.messages)
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        tickets = data.draw(st.sampled_from(self.world.messages))
        self.ledger.condemn(tickets, FinalFailure("REVOKED", "text", 0, 2))

    @precondition(lambda self: self.world.attempts)
    @rule(data=st.data())
    def owe_and_settle(self, data: st.DataObject) -> None:
        attempt = data.draw(st.sampled_from(self.world.attempts))
        self.end(attempt)

    @precondition(lambda self: self.world.attempts)
    @rule(data=st.data())
    def settle_what_was_completed_before(self, data: st.DataObject) -> None:
        attempt = data.draw(st.sampled_from(self.world.attempts))
        self.end(attempt, announces=False)

    @precondition(lambda self: self.world.attempts)
    @rule(data=st.data())
    def owe_and_vanish(self, data: st.DataObject) -> None:
        attempt = data.draw(st.sampled_from(self.world.attempts))
        claim = attempt.claim
        debt = Debt(claim.entry_id, Completion(claim.request.enrolment, 77), uuid.uuid4().hex)
        (status,) = self.ledger.owe([debt], claim.token)
        assert status is DebtStatus.OWED or attempt.leased_until <= self.world.now_ms
        if status is DebtStatus.OWED:
            self.world.owing[claim.request.enrolment] = claim.entry_id
        self.world.attempts.remove(attempt)

    @rule(seconds=st.sampled_from([1, 14, 16, LEASE + 1, 200]))
    def time_passes(self, seconds: int) -> None:
        self.world.now_ms += seconds * 1000

    @invariant()
    def nothing_is_forgotten(self) -> None:
        assert self.ledger.open_count() == len(self.world.open)
        clicks = [offset for topic, offset in self.world.open if topic == CLICKS]
        assert self.ledger.oldest_open(CLICKS, 0) == min(clicks, default=None)
        of_runs = {run: self.world.of_run(run) for run in RUNS}
        assert self.ledger.open_of_runs() == {run: count for run, count in of_runs.items() if count}

    @invariant()
    def the_bound_lets_off_what_waits_for_one_thing(self) -> None:
        occupancy = self.ledger.occupancy()
        assert occupancy.open == len(self.world.open)
        of_runs = sum(self.world.of_run(run) for run in RUNS)
        assert 0 <= occupancy.open - of_runs - occupancy.counted <= BESIDE

    @invariant()
    def the_lists_agree(self) -> None:
        prefix = self.ledger._prefix
        ids = [key.removeprefix(f"{prefix}entry:") for key in self.redis.scan_iter(f"{prefix}entry:*", count=1000)]
        with self.redis.pipeline(transaction=False) as together:
            for entry_id in ids:
                together.hgetall(f"{prefix}entry:{entry_id}")
                together.lrange(f"{prefix}also:{entry_id}", 0, -1)
            answers = together.execute()
        entries = dict(zip(ids, answers[::2], strict=True))
        joined = dict(zip(ids, answers[1::2], strict=True))
        # each waits for its time or for the end of a pause, and stands in one place
        places = self.redis.zrange(f"{prefix}due", 0, -1)
        for key in self.redis.scan_iter(f"{prefix}shelf:*", count=1000):
            shelved = self.redis.zrange(key, 0, -1)
            assert {entries[entry_id]["shelf"] for entry_id in shelved} == {key.removeprefix(f"{prefix}shelf:")}
            places += shelved
        assert sorted(places) == sorted(entries)
        ages = self.redis.zrange(f"{prefix}ages", 0, -1, withscores=True)
        assert dict(ages) == {entry_id: float(entry["accepted"]) for entry_id, entry in entries.items()}
        parked: dict[str, int] = {}
        for entry_id, entry in entries.items():
            opens = [entry["open"], *joined[entry_id][::2]]
            clicks = opens.count(f"{prefix}open:{CLICKS}:0")
            assert not (clicks and "lane" in entry), "no click waits in a run's lane"
            if clicks < len(opens):
                assert entry["repairing"] == "1"
            if "parked" in entry:
                parked[entry["parked"]] = parked.get(entry["parked"], 0) + clicks
        found = {what: int(offsets) for what, offsets in self.redis.hgetall(f"{prefix}parked").items()}
        # of what has no click it does not matter whether it stands there
        assert +Counter(found) == +Counter(parked)
        assert self.ledger.oldest_open_ms() == min((int(entry["accepted"]) for entry in entries.values()), default=None)
        if not parked:
            assert self.ledger.occupancy().counted == sum(topic == CLICKS for topic, _ in self.world.open)

    # how the model follows

    def request(self, offset: int, learner: EnrolmentKey, run: str = "") -> SyncRequest:
        topic = f"bulk:{run}" if run else CLICKS
        record = Record(Origin(topic, 0, offset, offset), b"key", b"{}")
        return SyncRequest(f"{topic}@{offset}", learner, record, run=run)

    def take_in(self, requests: list[SyncRequest], tickets: tuple[Ticket, ...], is_sent: bool) -> None:
        self.world.tick += 1
        for request in requests:
            origin = request.record.origin
            self.world.open[origin.topic, origin.offset] = (self.world.tick, request.enrolment)
        if is_sent and tickets:
            self.world.messages.append(list(tickets))

    def learner_of(self, ticket: Ticket) -> EnrolmentKey:
        topic, _, offset = ticket.entry_id.partition("@")
        return self.world.open[topic, int(offset)][1]

    def begin(self, claim: Claim) -> None:
        assert not self.world.keeps_back(claim.request.enrolment)
        for other in self.world.attempts:
            if other.claim.request.enrolment == claim.request.enrolment:
                # whoever still believes to be at it has lost its claim
                assert other.leased_until <= self.world.now_ms
        owing = self.world.owing.get(claim.request.enrolment)
        assert owing in (None, claim.entry_id) or not self.redis.exists(f"{self.ledger._prefix}entry:{owing}")
        self.world.attempts.append(Attempt(claim, self.world.tick, self.world.now_ms + LEASE * 1000))

    def end(self, attempt: Attempt, *, announces: bool = True) -> None:
        claim = attempt.claim
        learner = claim.request.enrolment
        debt = Debt(claim.entry_id, Completion(learner, 77), uuid.uuid4().hex)
        if announces:
            (status,) = self.ledger.owe([debt], claim.token)
            was_ours = status is DebtStatus.OWED
        else:
            (was_ours,) = self.ledger.renew([(claim.entry_id, claim.token)])
        before = self.ledger.open_count()
        (closed,) = self.ledger.settle([Settlement(claim.entry_id, debt.mid if announces else None)], claim.token)
        assert closed == before - self.ledger.open_count()
        ours = closed > 0
        assert was_ours or attempt.leased_until <= self.world.now_ms
        self.world.attempts.remove(attempt)
        if not ours:
            # what was read again while an attempt ran that does not know it, is the next one's to announce
            again = {self.world.open[place][1] for place in self.world.repeated} | self.world.joined_again
            assert not was_ours or (not announces and learner in again)
            return
        # this attempt may close only what was accepted before it began, of its own learner; which of these, the ledger
        # chooses: those that had collapsed into its entry
        own = claim.request.record.origin
        gone = [place for place in self.world.open if self.is_gone(*place)]
        assert (own.topic, own.offset) in gone
        assert len(gone) == closed
        for place in gone:
            assert announces or claim.request.repeated or place not in self.world.repeated
            self.world.repeated.discard(place)
            accepted, asks_for = self.world.open.pop(place)
            assert asks_for == learner
            assert accepted <= attempt.began

    def check_it_waits_for_no_run(self, ticket: Ticket) -> None:
        """Insist that a click which was refused just now does not wait for what lies behind all clicks."""
        prefix = self.ledger._prefix
        names = ("generation", "blocked", "lane", "enrolment")
        generation, blocked, lane, enrolment = self.redis.hmget(f"{prefix}entry:{ticket.entry_id}", names)
        # a stale message was refused before anybody looked for whom it waits
        if generation == str(ticket.generation) and blocked == "1" and lane is None:
            first = self.redis.hget(f"{prefix}running", enrolment)
            state, lane = self.redis.hmget(f"{prefix}entry:{first}", "state", "lane")
            assert state == "claimed" or lane is None

    def has_an_entry(self, topic: str, offset: int) -> bool:
        return bool(self.redis.exists(f"{self.ledger._prefix}entry:{topic}@{offset}"))

    def is_gone(self, topic: str, offset: int) -> bool:
        return self.redis.zscore(f"{self.ledger._prefix}open:{topic}:0", offset) is None

    def settle_everything(self) -> None:
        """Give the system time and working processes: everything must come to its end."""
        self.world.attempts.clear()
        self.world.messages.clear()
        self.operations.end_pauses(sorted(self.world.paused))
        self.world.paused.clear()
        # at least once: a pause that is over leaves with a sweep, also where nothing is open any more
        for _ in range(300):
            self.world.now_ms += 30_000
            for swept in self.ledger.sweep(100):
                for claim in self.ledger.claim([swept.ticket], uuid.uuid4().hex):
                    self.world.tick += 1
                    self.begin(claim)
            for attempt in list(self.world.attempts):
                self.end(attempt)
            if not self.world.open:
                break
        assert not self.world.open
        left = {key.removeprefix(self.ledger._prefix) for key in self.redis.scan_iter(f"{self.ledger._prefix}*")}
        assert {key for key in left if not key.startswith(("paid:", "bulk:run:"))} <= {"count", "breaker", "swept"}


@pytest.mark.parametrize("examples", [150])
def test_nothing_is_lost_in_any_order(ports: Ports, examples: int) -> None:
    machine = type("Machine", (LedgerMachine,), {"url": ports.redis_url(DATABASE)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
