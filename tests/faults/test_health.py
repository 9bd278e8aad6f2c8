"""What bridge and worker say of their health while they are well, while servers are away, and while they are stuck."""

import sys
import time
from pathlib import Path

from devstack.ports import Ports
from devstack.stack import Stack
from tests.faults.conftest import MakeSite
from tests.faults.poisonous import POISON, innocents_and
from tests.faults.site import PATIENT, UP_LIMIT, Site
from tests.faults.slow_worker import STALLS
from tests.support.cassandra_proxy import CassandraProxy
from tests.support.installation import new_learner
from tests.support.processes import celery_worker
from tests.support.redis_proxy import RedisProxy
from tests.support.waiting import wait_until
from worker.health import READY_SILENCE

NOT_TURNING = "Celery's loop does not turn: is its broker there?"
SLOW_WORKER = celery_worker("tests.faults.slow_worker")


def wait_for(site: Site, process: str, path: str, code: int, limit: float = UP_LIMIT) -> list[str]:
    """Wait until a process answers so; gives the reasons that it told."""

    def look() -> dict[str, list[str]] | None:
        found, told = site.health(process, path)
        return told if found == code else None

    return wait_until(f"{code} from the {process}'s /health/{path}", look, limit).get("reasons", [])


def test_processes_at_work_are_alive_and_ready(make_site: MakeSite) -> None:
    site = make_site(workers=1).start()
    for process in ("bridge", "worker"):
        assert wait_for(site, process, "ready", 200) == []
        assert site.health(process, "live") == (200, {"status": "alive"})
        assert site.metrics(process)


def test_a_redis_that_hangs_makes_nobody_ready_and_nobody_dead(make_site: MakeSite, stack: Stack) -> None:
    # three of the client's rounds of tries: one of them may take ten seconds (redis/connection.py, check_health)
    limit = 20.0
    site = make_site({"REDIS_TIMEOUT": "1", "HEALTH_LIMIT": str(limit)}, workers=1).start()
    for process in ("bridge", "worker"):
        wait_for(site, process, "ready", 200)
    stack.server("redis").stop()
    try:
        began = time.monotonic()
        assert "the ledger's Redis does not answer" in wait_for(site, "bridge", "ready", 503)
        assert NOT_TURNING in wait_for(site, "worker", "ready", 503)

        def outlasted() -> bool:
            assert [site.health(process, "live")[0] for process in ("bridge", "worker")] == [200, 200]
            return time.monotonic() - began > 2 * limit

        wait_until("the outage lasts longer than a stuck loop may", outlasted, 20 * limit)
    finally:
        stack.server("redis").resume()
    for process in ("bridge", "worker"):
        wait_for(site, process, "ready", 200)
    site.supervise()
    assert site.restarts.total() == 0


def test_a_worker_waits_for_its_servers_alive(make_site: MakeSite, ports: Ports) -> None:
    with RedisProxy(ports.redis) as broker, CassandraProxy(ports.cassandra) as cassandra:
        broker.cut()
        cassandra.cut()
        settings = {**cassandra.settings, "CELERY_BROKER_URL": broker.url, "OUTAGE_BACKOFF_MOST": "1"}
        site = make_site({**settings, "HEALTH_LIMIT": "5", "REDIS_TIMEOUT": "1"}, workers=1)
        site.run(site.worker)
        both = [NOT_TURNING, "Cassandra has not been reached yet"]
        assert wait_for(site, "worker", "ready", 503) == both
        began = time.monotonic()

        def outlasted() -> bool:
            assert site.health("worker", "live")[0] == 200
            return time.monotonic() - began > READY_SILENCE + 10

        wait_until("it waits longer than a stuck loop may", outlasted, UP_LIMIT)
        broker.is_cut = False
        wait_until("its broker is reached", lambda: site.health("worker", "ready")[1].get("reasons") == both[1:], 60)
        assert site.health("worker", "live")[0] == 200
        cassandra.is_cut = False
        wait_for(site, "worker", "ready", 200)
        site.end()


def test_a_bridge_whose_loop_is_held_is_stuck(make_site: MakeSite, tmp_path: Path) -> None:
    stalls = tmp_path / "stalls"
    site = make_site({"HEALTH_LIMIT": "4"}, workers=1)
    held = site.add_bridge((sys.executable, "-m", "tests.faults.stalling_bridge", "before accept", str(stalls)))
    site.run(held, site.worker)
    wait_for(site, held.name, "ready", 200)
    stalls.touch()
    site.send(new_learner())
    (reason,) = wait_for(site, held.name, "live", 503)
    assert "the bridge's loop stands still" in reason
    assert wait_for(site, held.name, "ready", 503)
    stalls.unlink()
    wait_for(site, held.name, "live", 200)
    wait_for(site, held.name, "ready", 200)
    site.wait_settled(UP_LIMIT)


def test_a_worker_whose_loop_is_held_is_stuck(make_site: MakeSite, tmp_path: Path) -> None:
    stalls = tmp_path / "stalls"
    site = make_site({"HEALTH_LIMIT": "4"}, workers=1)
    held = site.add_worker(SLOW_WORKER, {"FAULT_STEP": "before Celery's timers", "FAULT_FILE": str(stalls)})
    site.run(held)
    wait_for(site, held.name, "ready", 200)
    stalls.touch()
    (reason,) = wait_for(site, held.name, "live", 503)
    assert "Celery's loop stands still" in reason
    stalls.unlink()
    wait_for(site, held.name, "live", 200)
    wait_for(site, held.name, "ready", 200)


def test_a_worker_in_which_attempts_hang_is_stuck_until_it_starts_anew(make_site: MakeSite, tmp_path: Path) -> None:
    stalls = tmp_path / "stalls"
    stalls.touch()
    site = make_site({"PYTHONPATH": POISON, "ATTEMPT_LIMIT": "3", "CRASH_ATTEMPTS": "1"}, workers=1)
    # by itself it would start anew before anybody asks
    held = site.add_worker(SLOW_WORKER, {"FAULT_STEP": "before it starts anew", "FAULT_FILE": str(stalls)})
    _, poisonous = innocents_and(site, ["hangs"], innocents=0)
    site.run(site.bridge, held)
    wait_for(site, held.name, "ready", 200)
    pid = held.pid
    site.send(*poisonous)
    assert wait_for(site, held.name, "live", 503) == ["attempts hang and no other one runs"]
    wait_until("it would start anew", lambda: STALLS in held.output())
    stalls.unlink()
    wait_for(site, held.name, "live", 200)
    assert held.pid == pid
    site.wait_settled(UP_LIMIT)


def test_a_worker_that_ends_is_alive_and_not_ready(make_site: MakeSite, tmp_path: Path) -> None:
    stalls = tmp_path / "stalls"
    stalls.touch()
    site = make_site({**PATIENT, "HEALTH_LIMIT": "3"}, workers=1)
    held = site.add_worker(SLOW_WORKER, {"FAULT_STEP": "before it looks", "FAULT_FILE": str(stalls)})
    site.run(site.bridge, held)
    wait_for(site, held.name, "ready", 200)
    site.send(new_learner())
    wait_until("the attempt runs", lambda: site.claimed_count() == 1, UP_LIMIT)
    site.dismiss(held)
    held.ask_to_end()
    began = time.monotonic()
    assert "the worker stops" in wait_for(site, held.name, "ready", 503)

    def outlasted() -> bool:
        assert site.health(held.name, "live")[0] == 200
        return time.monotonic() - began > 6

    wait_until("it takes longer than a stuck loop may", outlasted, UP_LIMIT)
    stalls.unlink()
    assert held.wait() == 0
    site.wait_settled(UP_LIMIT)
