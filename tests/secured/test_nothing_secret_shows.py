"""What Flower, Celery's own commands and the operators' commands tell holds no password."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from devstack.ports import HOST, free_port
from tests.secured.conftest import SECRET, Install, Secured
from tests.secured.test_everything_secured import LIMIT, check_no_secret, finished_learner
from tests.support.installation import Installation
from tests.support.processes import BRIDGE, CELERY, REPOSITORY, WORKER, Process
from tests.support.waiting import wait_until

WRONG = "hunter3-wr0ng"


@contextmanager
def flower(installation: Installation, logs: Path, settings: Mapping[str, str]) -> Iterator[tuple[Process, str]]:
    """Run Flower; gives it and its address."""
    port = free_port()
    command = (*CELERY, "flower", f"--address={HOST}", f"--port={port}")
    own = {**installation.settings, **settings, "FLOWER_UNAUTHENTICATED_API": "true"}
    process = Process("flower", command, own, logs / f"{installation.environment}-flower-{port}.log")
    process.start()
    try:
        yield process, f"http://{HOST}:{port}"
    finally:
        process.kill()


def page(address: str) -> str:
    """Fetch a page, empty while Flower does not answer."""
    try:
        return requests.get(address, timeout=30).text
    except requests.ConnectionError:
        return ""


def celery(installation: Installation, *arguments: str) -> str:
    ended = subprocess.run(
        [*CELERY, *arguments],
        cwd=REPOSITORY,
        env=installation.settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return ended.stdout + ended.stderr


@pytest.fixture
def running(secured: Secured, install: Install) -> Iterator[Installation]:
    url = secured.broker_url(secured.redis, ssl_ca_certs=secured.certificates.authority)
    with install({"CELERY_BROKER_URL": url, "SERVICE_SEARCH_TOKEN": SECRET}) as installation:
        yield installation.start()


def test_nothing_secret_shows(running: Installation, logs: Path) -> None:
    learner = finished_learner(running)
    with flower(running, logs, {}) as (process, address):
        running.sync(learner, limit=LIMIT)
        told = wait_until("Flower knows the worker", lambda: _workers(address), LIMIT)
        worker = next(iter(json.loads(told)))
        # what Flower asked the worker for: all of Celery's settings
        assert "broker_url" in told
        broker = page(f"{address}/broker")
        assert running.group_id in broker
        pages = [told, broker, *(page(f"{address}/{it}") for it in ("", "workers", f"worker/{worker}", "tasks"))]
        check_no_secret(process.output(), *pages)
        assert "Unable to get queues" not in process.output()
    report = celery(running, "report")
    assert "broker_url" in report
    # with a destination it ends with that worker's answer
    conf = celery(running, "inspect", "conf", "--json", "--timeout", str(LIMIT), "--destination", worker)
    assert "broker_url" in conf
    check_no_secret(report, conf, *(process.output() for process in running.processes))
    for command in (("resume",), ("rewind", "--since", "1h", "--yes")):
        check_no_secret(running.operate(*command))


def _workers(address: str) -> str:
    told = page(f"{address}/api/workers?refresh=1")
    return told if "broker_url" in told else ""


def test_a_wrong_password_shows_nowhere(running: Installation, logs: Path) -> None:
    wrong = {
        name: running.settings[name].replace(SECRET, WRONG)
        for name in ("CELERY_BROKER_URL", "KAFKA_SASL_PASSWORD", "LMS_CASSANDRA_PASSWORD", "REDIS_PASSWORD")
    }
    with flower(running, logs, wrong) as (process, address):
        wait_until("Flower tells of its broker", lambda: page(address), LIMIT)
        for text in (page(f"{address}/broker"), page(f"{address}/workers"), process.output()):
            assert "hunter" not in text
    for command in (("resume",), ("rewind", "--since", "1h", "--yes")):
        ended = running.run_command(*command, settings=wrong)
        assert ended.returncode == 3
        (line,) = ended.stderr.strip().splitlines()
        assert "LEDGER_REDIS_URL" in line
        assert "hunter" not in line + ended.stdout


def test_a_secret_that_can_not_be_used_shows_nowhere(running: Installation) -> None:
    for name, value in (
        ("CELERY_BROKER_URL", f"nonsense://alice:{WRONG}@h"),
        ("KAFKA_OPTIONS", f"sasl.oauthbearer.client.secret={WRONG},acks=1"),
        ("KAFKA_OPTIONS", f"no.such.password={WRONG}"),
        ("KAFKA_SASL_PASSWORD_FILE", "/nowhere"),
        ("REDIS_PASSWORD", WRONG + "\n" + WRONG),
    ):
        for command in (BRIDGE, WORKER, (*CELERY, "worker")):
            ended = subprocess.run(
                command,
                cwd=REPOSITORY,
                env={**running.settings, name: value, "METRICS_BRIDGE_PORT": "0", "METRICS_WORKER_PORT": "0"},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            lines = (ended.stdout + ended.stderr).strip().splitlines()
            assert ended.returncode == 2
            assert name.removesuffix("_FILE") in lines[-1]
            check_no_secret(*lines)
            assert not any(WRONG in line or "Traceback" in line for line in lines)
