"""RabbitMQ killed, frozen and short of memory in the middle of a load."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from devstack.rabbitmq import RabbitMqServer
from devstack.stack import Stack
from tests.faults.broker import queue_of
from tests.faults.conftest import MakeSite
from tests.faults.load import Load
from tests.faults.poisonous import innocents_and
from tests.faults.servers import away, keep, wait_flowing
from tests.faults.site import PATIENT, UP_LIMIT, Site
from tests.faults.test_health import NOT_TURNING, wait_for
from tests.faults.test_servers import BACKLOG, LIMIT, Fault, flow_through, hanging, killed
from tests.support.installation import new_learner
from tests.support.run import RABBITMQ

LEARNERS = 1_500
SECONDS = 10.0
#: What a bridge says of a RabbitMQ that takes nothing.
BLOCKED = "it takes no messages for now"
#: RabbitMQ's own share of the memory, beyond which it takes nothing more.
USUAL_SHARE, NO_SHARE = "0.4", "0.000001"

FAULTS: dict[str, list[Fault]] = {
    "killed twice": [killed(RABBITMQ, SECONDS), killed(RABBITMQ, SECONDS)],
    "killed and back at once": [killed(RABBITMQ, 0.2)],
    "frozen": [hanging(RABBITMQ, SECONDS)],
    "killed with the ledger's Redis": [lambda site, _load, stack: _both_killed(site, stack)],
}


def _both_killed(site: Site, stack: Stack) -> None:
    with away(stack, site, RABBITMQ, "redis"):
        keep(site, 1)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", FAULTS)
def test_nothing_is_lost_and_the_flow_goes_on_by_itself(
    make_site: MakeSite, seed: int, stack: Stack, rabbitmq: RabbitMqServer, name: str
) -> None:
    assert rabbitmq.answers()
    flow_through(FAULTS[name], make_site({"WORKER_THREADS": "4"}), Load(seed, LEARNERS), stack)


@contextmanager
def _out_of_memory(rabbitmq: RabbitMqServer) -> Iterator[None]:
    """Have RabbitMQ block whoever sends for as long as the block lasts."""
    rabbitmq.control("set_vm_memory_high_watermark", NO_SHARE)
    try:
        yield
    finally:
        rabbitmq.control("set_vm_memory_high_watermark", USUAL_SHARE)


@pytest.mark.timeout(600)
def test_a_rabbitmq_that_takes_nothing_holds_the_bridge_and_no_process_hangs(
    make_site: MakeSite, seed: int, rabbitmq: RabbitMqServer
) -> None:
    site = make_site({"REDIS_TIMEOUT": "2"}, bridges=2)
    load = Load(seed, LEARNERS).prepare(site)
    site.start()
    with load.keep_busy(site, BACKLOG):
        wait_flowing(site)
        with _out_of_memory(rabbitmq):
            site.wait_for("the bridge says why it waits", lambda: BLOCKED in site.bridge.output(), LIMIT)
            site.wait_for(
                "the hold shows", lambda: site.measured("bridge", "bridge_hold", reason="broker_away") == 1, LIMIT
            )
            assert "does not answer" in str(wait_for(site, "bridge", "ready", 503))
            site.wait_for("what was taken is done", lambda: len(queue_of(site)) == 0, LIMIT)
            keep(site, SECONDS)
            for process in ("bridge", "bridge-2", "worker", "worker-2"):
                assert site.health(process, "live")[0] == 200, process
            assert site.behind(), "what comes stays on the topic"
            # an orderly end is one here, too
            site.stop(site.bridges[1], site.workers[1])
        site.run(*site.processes)
        wait_flowing(site)
    site.wait_settled(LIMIT)

    load.verdict(site).check()
    assert site.restarts.total() == 0


def test_a_rabbitmq_that_is_away_makes_nobody_dead(make_site: MakeSite, stack: Stack, rabbitmq: RabbitMqServer) -> None:
    limit = 10.0
    site = make_site({"REDIS_TIMEOUT": "1", "HEALTH_LIMIT": str(limit)}, workers=1).start()
    for process in ("bridge", "worker"):
        wait_for(site, process, "ready", 200)
    assert rabbitmq.answers()
    with away(stack, site, RABBITMQ):
        began = time.monotonic()
        site.send(new_learner())
        assert wait_for(site, "bridge", "ready", 503)
        assert NOT_TURNING in wait_for(site, "worker", "ready", 503)

        def outlasted() -> bool:
            assert [site.health(process, "live")[0] for process in ("bridge", "worker")] == [200, 200]
            return time.monotonic() - began > 4 * limit

        site.wait_for("the outage lasts longer than a stuck loop may", outlasted, 20 * limit)
    for process in ("bridge", "worker"):
        wait_for(site, process, "ready", 200)
    site.wait_settled(UP_LIMIT)
    assert site.restarts.total() == 0


def test_processes_end_in_time_though_rabbitmq_hangs(make_site: MakeSite, stack: Stack) -> None:
    site = make_site({**PATIENT, "REDIS_TIMEOUT": "2"}, workers=1)
    learners, _ = innocents_and(site, [], innocents=20)
    site.send(*learners[:10])
    site.start().wait_settled(UP_LIMIT)
    with away(stack, site, RABBITMQ, hangs=True):
        site.send(*learners[10:])
        site.wait_for("the bridge waits", lambda: "paused" in site.bridge.output(), UP_LIMIT)
        site.dismiss(*site.processes)
        for process in site.processes:
            process.ask_to_end()
        # the worker waits for RabbitMQ's answers when it takes leave
        assert [process.wait(60) for process in site.processes] == [0, 0]
        assert "did not end in time" not in site.worker.output()
    site.start().wait_settled(LIMIT)
    assert len(site.certificates.records()) == 20


def test_what_was_sent_outlives_a_kill(make_site: MakeSite, seed: int, stack: Stack) -> None:
    # no sweep sends anything anew: what the workers get is what RabbitMQ kept
    site = make_site({"LEDGER_SWEEP_AFTER": "600"}, workers=1)
    load = Load(seed, 200, clicks=1).prepare(site)
    load.send_all(site)
    site.run(site.bridge)
    site.wait_accepted(UP_LIMIT)
    messages = len(queue_of(site))
    assert messages > 0
    site.stop(site.bridge)
    # a queue younger than that may come back without a leader (docs/rabbitmq.md, what is not promised)
    keep(site, SECONDS)
    with away(stack, site, RABBITMQ):
        pass
    # a queue has found its messages a moment after RabbitMQ answers
    site.wait_for("the messages", lambda: len(queue_of(site)) == messages, LIMIT)
    site.start().wait_settled(LIMIT)

    load.verdict(site).check()
