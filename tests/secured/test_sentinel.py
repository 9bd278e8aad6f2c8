"""Broker and ledger are found through sentinels that ask for a password of their own."""

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis

from devstack.ports import HOST, free_port
from devstack.redis import find_redis
from tests.secured.conftest import SECRET, Install, Secured
from tests.secured.test_everything_secured import LIMIT, check_no_secret, finished_learner
from tests.secured.test_wrong_secrets import (
    BROKER_BY_WORKER,
    LEDGER_BY_BRIDGE,
    LEDGER_BY_WORKER,
    check_readable,
    wait_told,
)
from tests.support.checks import check_announced_once
from tests.support.tls_proxy import PassingProxy, TlsProxy
from tests.support.waiting import wait_until

OWN_SECRET = "hunter4-sentinels"

_CONFIGURATION = """\
bind 127.0.0.1
port {port}
dir {folder}
requirepass {own}
sentinel monitor main 127.0.0.1 {redis} 1
sentinel auth-user main {user}
sentinel auth-pass main {password}
"""


@contextmanager
def sentinel(secured: Secured, folder: Path, master: int | None = None) -> Iterator[int]:
    """Run a sentinel that watches the secured Redis, at a port of `master` where that is given; gives its own port."""
    folder.mkdir()
    port = free_port()
    file = folder / "sentinel.conf"
    file.write_text(
        _CONFIGURATION.format(
            port=port,
            folder=folder,
            own=OWN_SECRET,
            redis=master or secured.ports.redis,
            user=secured.security.username,
            password=SECRET,
        )
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([find_redis(), str(file), "--sentinel"], stdout=log, stderr=log)
        try:
            wait_until("the sentinel knows the master", lambda: _knows_master(port))
            yield port
        finally:
            process.terminate()
            process.wait(20)


def _knows_master(port: int) -> bool:
    try:
        with redis.Redis(host=HOST, port=port, password=OWN_SECRET, socket_timeout=5) as client:
            return bool(client.sentinel_master("main")["flags"] == "master")
    except redis.ConnectionError:
        return False


@contextmanager
def either_way(plain: int, tls: int) -> Iterator[tuple[int, list[int]]]:
    """Listen at one port for those who speak plain and those who speak TLS; each is led on to a port of its kind.

    A sentinel here speaks plain, and tells clients the port at which it watches. Gives the port, and a list of where
    each connection was led.
    """
    led: list[int] = []

    async def lead(reader: asyncio.StreamReader) -> tuple[int, bytes]:
        first = await reader.readexactly(1)
        # of a handshake's record
        led.append(tls if first == b"\x16" else plain)
        return led[-1], first

    with PassingProxy(lead) as proxy:
        yield proxy.port, led


@pytest.fixture
def sentinels(secured: Secured, tmp_path: Path) -> Iterator[list[int]]:
    with ExitStack() as running:
        yield [running.enter_context(sentinel(secured, tmp_path / name)) for name in ("one", "two")]


def test_a_learner_is_completed_while_one_of_two_sentinels_is_away(
    secured: Secured, install: Install, sentinels: list[int]
) -> None:
    nobody = free_port()
    settings = {
        "CELERY_BROKER_URL": ";".join(
            f"sentinel://{secured.security.username}:{SECRET}@{HOST}:{port}/0" for port in (nobody, *sentinels)
        ),
        "CELERY_BROKER_SENTINEL_MASTER": "main",
        "CELERY_BROKER_SENTINEL_PASSWORD": OWN_SECRET,
    }
    with install(settings) as installation:
        installation.start()
        learner = finished_learner(installation)

        installation.sync(learner, limit=LIMIT)

        check_announced_once(installation, learner)
        told = [process.output() for process in installation.processes]
        told.append(installation.operate("resume"))
        check_no_secret(*told)
        assert OWN_SECRET not in "".join(told)


def test_sentinels_and_master_speak_tls(secured: Secured, install: Install, tmp_path: Path) -> None:
    with (
        either_way(secured.ports.redis, secured.redis) as (master, led),
        sentinel(secured, tmp_path / "sentinel", master) as port,
        TlsProxy(port, secured.certificates.server) as proxy,
    ):
        settings = {
            "CELERY_BROKER_URL": f"sentinel://{secured.security.username}:{SECRET}@{HOST}:{proxy.port}/0",
            "CELERY_BROKER_SENTINEL_MASTER": "main",
            "CELERY_BROKER_SENTINEL_PASSWORD": OWN_SECRET,
            "CELERY_BROKER_SSL_ENABLED": "true",
            "CELERY_BROKER_SSL_CA_LOCATION": str(secured.certificates.authority),
        }
        # it has one to ask and one to listen
        wait_until("both of the sentinel's connections", lambda: len(led) >= 2)
        of_sentinel = len(led)
        with install(settings) as installation:
            installation.start()
            learner = finished_learner(installation)

            installation.sync(learner, limit=LIMIT)

            check_announced_once(installation, learner)
        # broker and ledger, of bridge and worker each
        assert len(led) >= of_sentinel + 4
        assert set(led[of_sentinel:]) == {secured.redis}


def test_a_wrong_password_of_the_sentinels_is_told(secured: Secured, install: Install, sentinels: list[int]) -> None:
    settings = {
        "CELERY_BROKER_URL": f"sentinel://{secured.security.username}:{SECRET}@{HOST}:{sentinels[0]}/0",
        "CELERY_BROKER_SENTINEL_MASTER": "main",
        "CELERY_BROKER_SENTINEL_PASSWORD": "hunter4-wrong",
    }
    with install(settings) as installation:
        installation.start()

        wait_told(
            installation,
            (
                ("bridge", LEDGER_BY_BRIDGE, "CELERY_BROKER_SENTINEL_PASSWORD"),
                ("worker", LEDGER_BY_WORKER, "CELERY_BROKER_SENTINEL_PASSWORD"),
                ("worker", BROKER_BY_WORKER, "celery.broker.sentinel"),
            ),
        )
        check_readable(installation)
        for process in installation.processes:
            assert "hunter4" not in process.output()
            assert "redis.client" not in process.output()
