"""The servers of a site: taken away, filled up or emptied in the middle of its work, and brought back in any case.

Free of pytest: longer runs outside the tests use it too.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import redis
from confluent_kafka import KafkaException

from devstack.ports import is_free
from devstack.stack import Stack
from tests.faults.site import Site
from tests.support.processes import Process
from tests.support.waiting import wait_until

#: How long a server may take to answer again, in seconds.
BACK_LIMIT = 120.0


def keep(site: Site, seconds: float) -> None:
    """Look after the site's processes for so long: the length of a fault, not a hope."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        site.supervise()
        time.sleep(min(0.1, max(ends - time.monotonic(), 0)))


@contextmanager
def away(stack: Stack, site: Site, *names: str, hangs: bool = False) -> Iterator[None]:
    """Kill servers of the stack, or freeze them, for as long as the block lasts; they answer again after it."""
    with ExitStack() as back:
        for name in names:
            server = stack.server(name)
            back.callback(_bring_back, stack, site, name, hangs)
            if hangs:
                server.stop()
            else:
                server.kill()
        yield


@contextmanager
def out_of_memory(site: Site, room: int | None = None) -> Iterator[None]:
    """Let Redis refuse what takes memory for as long as the block lasts.

    `room` is how many bytes it still has, None where it has used up more than it may: it refuses everything then.
    """
    before = site.redis.config_get("maxmemory")["maxmemory"]
    site.redis.config_set("maxmemory", 1 if room is None else site.redis.info("memory")["used_memory"] + room)
    try:
        yield
    finally:
        site.redis.config_set("maxmemory", before)


def forget(site: Site) -> None:
    """Empty the database of the ledger, and of a broker that is Redis, as FLUSHDB does; the relation sets stay."""
    site.redis.flushdb()


def wait_flowing(site: Site, amount: int = 100, limit: float = BACK_LIMIT) -> None:
    """Wait until the site's workers have settled so many requests more, and a bridge has taken some.

    Something must keep them busy meanwhile.
    """
    start = {process.name: max(site.work_done(process), 0) for process in site.processes}

    def more(processes: list[Process]) -> float:
        done = {process.name: site.work_done(process) for process in processes}
        # one that was started again counts from nothing
        return sum(max(now - start[name] if now >= start[name] else now, 0) for name, now in done.items())

    def flows() -> bool:
        return more(site.workers) >= amount and more(site.bridges) > 0

    site.wait_for(f"{amount} more requests settled", flows, limit)


def _bring_back(stack: Stack, site: Site, name: str, hangs: bool) -> None:
    server = stack.server(name)
    if hangs:
        server.resume()
    elif server.pid is None:
        # the last threads of a process that was killed may hold its port a moment longer than it shows
        wait_until(f"{name}'s port is free again", lambda: is_free(server.port), BACK_LIMIT)
        server.start()
    wait_until(f"{name} answers again", server.answers, BACK_LIMIT)
    match name:
        case "kafka":
            site.reconnect_kafka()
            wait_until("our own clients find Kafka again", lambda: _answers(site), BACK_LIMIT)
        case "cassandra":
            site.tables.wait_ready()
        case "redis":
            wait_until("our own client finds Redis again", lambda: _pings(site), BACK_LIMIT)
        case "rabbitmq":
            pass  # our own clients of it connect anew for each question
        case _:
            raise ValueError(name)


def _answers(site: Site) -> bool:
    try:
        site.behind()
    except (KafkaException, TimeoutError):
        site.reconnect_kafka()
        return False
    return True


def _pings(site: Site) -> bool:
    try:
        return bool(site.redis.ping())
    except redis.RedisError:
        return False
