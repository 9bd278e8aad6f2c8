"""Redis, Cassandra and Kafka killed, frozen, filled up and emptied in the middle of a load.

FAULT_SECONDS says how long a server that hangs does so; 30 is the full figure, and then whatever is killed is away for
as long, twice, under a load of thousands.
"""

import os
from collections.abc import Callable, Sequence

import pytest

from devstack.ports import Ports
from devstack.stack import Stack
from tests.faults.conftest import MakeSite
from tests.faults.load import Load
from tests.faults.poisonous import innocents_and
from tests.faults.servers import away, forget, keep, out_of_memory, wait_flowing
from tests.faults.site import Site
from tests.support.cassandra_proxy import CassandraProxy, completion_write
from tests.support.events import check_certificate
from tests.support.kafka_proxy import KafkaProxy, Question, produce_to
from tests.support.relay import Treatment
from tests.support.tables import Learner

SECONDS = float(os.environ.get("FAULT_SECONDS") or 8)
IS_FULL = SECONDS >= 30
#: How long a server that is killed twice is away, in seconds.
SOON, LATE = (SECONDS, SECONDS) if IS_FULL else (0.2, 5)
LEARNERS, BACKLOG = (5_000, 3_000) if IS_FULL else (1_200, 700)
LIMIT = 240.0
#: What Redis tells whoever wants memory that it has not.
REFUSED = "command not allowed when used memory"
#: What a bridge says when it notices that Redis forgot something.
NOTICED = "the ledger's Redis restarted or lost its data"
WENT_BACK = "going back to what was open then"

Fault = Callable[[Site, Load, Stack], None]


def killed(server: str, seconds: float) -> Fault:
    def fault(site: Site, _load: Load, stack: Stack) -> None:
        with away(stack, site, server):
            keep(site, seconds)

    return fault


def hanging(server: str, seconds: float) -> Fault:
    def fault(site: Site, _load: Load, stack: Stack) -> None:
        with away(stack, site, server, hangs=True):
            keep(site, seconds)

    return fault


def cassandra_hangs(site: Site, _load: Load, stack: Stack) -> None:
    with away(stack, site, "cassandra", hangs=True):
        # every attempt that runs has to meet the outage, and some have to come round again
        site.wait_for("requests wait for Cassandra", lambda: any(waits >= 2 for _, waits in site.spent()), LIMIT)
        keep(site, SECONDS)


def redis_is_full(site: Site, _load: Load, _stack: Stack) -> None:
    with out_of_memory(site, room=0):
        site.wait_for("something is refused", lambda: told(site, REFUSED), LIMIT)
        keep(site, SECONDS)


def redis_refuses_all(site: Site, _load: Load, _stack: Stack) -> None:
    with out_of_memory(site):
        site.wait_for("something is refused", lambda: told(site, REFUSED), LIMIT)
        keep(site, SECONDS)


def redis_forgets_the_ledger(site: Site, _load: Load, _stack: Stack) -> None:
    site.wait_for("something is open", site.open_count, LIMIT)
    forget(site)
    site.wait_for("the bridge notices", lambda: NOTICED in site.bridge.output(), LIMIT)


def redis_forgets_everything(site: Site, load: Load, _stack: Stack) -> None:
    site.wait_for("something is open", site.open_count, LIMIT)
    # in one step: what an attempt would make of half a course is no matter of the ledger
    site.relations.replace_everything(*load.trees)
    site.wait_for("the bridge notices", lambda: NOTICED in site.bridge.output(), LIMIT)


def told(site: Site, text: str) -> bool:
    return any(text in process.output() for process in site.processes)


def flow_through(faults: Sequence[Fault], site: Site, load: Load, stack: Stack) -> None:
    """Have a load flow, each fault in its turn, and find that nothing is lost and that all flows on by itself."""
    load.prepare(site)
    site.start()
    with load.keep_busy(site, BACKLOG):
        for fault in faults:
            wait_flowing(site)
            fault(site, load, stack)
            load.observe(site)
        wait_flowing(site)
    site.wait_settled(LIMIT)
    load.verdict(site).check()


FAULTS: dict[str, list[Fault]] = {
    "redis is killed": [killed("redis", SOON), killed("redis", LATE)],
    "redis hangs": [hanging("redis", SECONDS)],
    "redis is full": [redis_is_full],
    "redis refuses all": [redis_refuses_all],
    "redis forgets the ledger": [redis_forgets_the_ledger],
    "redis forgets everything": [redis_forgets_everything],
    "cassandra hangs": [cassandra_hangs],
    "cassandra is killed": [killed("cassandra", SOON), killed("cassandra", LATE)],
    "kafka is killed": [killed("kafka", SOON), killed("kafka", LATE)],
    "each is killed in turn": [killed("kafka", 1), killed("redis", 1), killed("cassandra", 1)],
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", FAULTS)
def test_nothing_is_lost_and_the_flow_goes_on_by_itself(
    make_site: MakeSite, seed: int, stack: Stack, name: str
) -> None:
    flow_through(FAULTS[name], make_site({"WORKER_THREADS": "4"}), Load(seed, LEARNERS), stack)


@pytest.mark.timeout(600)
def test_redis_forgets_between_a_completion_and_its_events(make_site: MakeSite, ports: Ports) -> None:
    with KafkaProxy(ports.kafka) as proxy:
        site = make_site(workers=1)
        dying = site.add_worker(settings={"KAFKA_BROKER_SERVERS": proxy.bootstrap})
        learners, _ = innocents_and(site, [], innocents=25)
        is_certificate, is_audit = produce_to(site.certificate_topic), produce_to(site.audit_topic)

        def is_event(question: Question) -> bool:
            return is_certificate(question) or is_audit(question)

        held = proxy.fault(Treatment.HOLD_REQUEST, is_event)
        site.run(site.bridge, dying)
        site.send(*learners)
        site.wait_for("all are completed", lambda: _completed_count(site, learners) == len(learners), LIMIT)
        held.wait()
        site.dismiss(dying)
        dying.kill()
        held.forget()
    assert site.certificates.records() == []
    assert site.audits.records() == []
    forget(site)
    site.wait_for("the bridge goes back", lambda: WENT_BACK in site.bridge.output(), LIMIT)
    site.run(site.worker)
    site.wait_settled(LIMIT)

    rows = site.tables.enrolments(learners)
    for learner in learners:
        announced = site.announced(learner)
        (certificate,) = announced.certificates
        assert len(announced.audits) == 1
        check_certificate(certificate, learner, rows[learner]["completedon"])
    assert site.failed.records() == []


def _completed_count(site: Site, learners: list[Learner]) -> int:
    rows = site.tables.enrolments(learners)
    return sum(rows[learner]["status"] == 2 for learner in learners)


@pytest.mark.timeout(600)
def test_attempts_that_fail_while_redis_refuses_writes_go_on_later(make_site: MakeSite, ports: Ports) -> None:
    with CassandraProxy(ports.cassandra) as proxy:
        settings = {"LMS_CASSANDRA_TIMEOUT": "2",
                    "RETRY_BACKOFF_FIRST": "0.2", "RETRY_BACKOFF_MOST": "1"}  # fmt: skip
        site = make_site({**settings, **proxy.settings}, workers=1)
        learners, _ = innocents_and(site, [], innocents=100)
        with proxy.fault(Treatment.HOLD_REQUEST, completion_write) as held:
            site.start()
            site.send(*learners)
            held.wait(limit=LIMIT)
            with out_of_memory(site):
                site.wait_for(
                    "attempts say how they ended all the same",
                    lambda: any(attempts + waits > 0 for attempts, waits in site.spent()),
                    LIMIT,
                )
                keep(site, SECONDS)
        site.wait_settled(LIMIT)

    rows = site.tables.enrolments(learners)
    for learner in learners:
        assert rows[learner]["status"] == 2
    assert {record.event["edata"]["userIds"][0] for record in site.certificates.records()} == {
        learner.user for learner in learners
    }
    assert site.failed.records() == []


SWEPT_SO_FAR = """
local total = 0
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  total = total + tonumber(redis.call('HGET', key, 'sweeps'))
end
return {tonumber(redis.call('TIME')[1]), total}
"""


@pytest.mark.timeout(600)
def test_what_was_overdue_in_an_outage_comes_back_at_a_rate(make_site: MakeSite, seed: int) -> None:
    rate, most_open = 50, 400
    site = make_site({"LEDGER_SWEEP_RATE": str(rate), "LEDGER_MAX_OPEN": str(most_open)}, bridges=2)
    load = Load(seed, 600, clicks=1).prepare(site)
    load.send_all(site)
    site.run(site.bridge)
    site.wait_for("the ledger is full", lambda: site.open_count() == most_open, LIMIT)
    site.stop(site.bridge)
    first = swept_so_far(site)[1]
    site.wait_for("everything is overdue", lambda: due_count(site) == most_open, LIMIT)

    site.run(*site.bridges)
    looks = [swept_so_far(site)]

    def all_sent_again() -> bool:
        look = swept_so_far(site)
        if look[1] > looks[-1][1]:
            looks.append(look)
        return look[1] >= first + most_open

    site.wait_for("everything is sent again", all_sent_again, LIMIT)
    for number, (second, sent) in enumerate(looks):
        for later_second, later_sent in looks[number + 1 :]:
            assert later_sent - sent <= rate * (later_second - second + 1)

    site.start()
    site.wait_settled(LIMIT)
    load.verdict(site).check()


def swept_so_far(site: Site) -> tuple[int, int]:
    """Give the second on Redis' clock, and how many messages the open entries have had, at one moment."""
    second, sent = site.redis.eval(SWEPT_SO_FAR, 0, f"*{{{site.group_id}}}:entry:*")
    return second, sent


def due_count(site: Site) -> int:
    """Count the entries that the next sweep would send."""
    (due,) = site.redis.scan_iter(f"*{{{site.group_id}}}:due")
    now_ms = site.redis.time()[0] * 1000
    return int(site.redis.zcount(due, "-inf", now_ms))
