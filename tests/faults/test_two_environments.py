"""Two environments on one Redis and one Kafka: what is done to one is nothing to the other."""

import os
import subprocess
from collections.abc import Collection

import pytest

from tests.faults.broker import queue_of
from tests.faults.conftest import MakeSite
from tests.faults.load import Load
from tests.faults.site import PATIENT, UP_LIMIT, Site
from tests.support.events import audit_learner, certificate_learner
from tests.support.processes import CELERY, REPOSITORY

#: How Celery's control ends when nobody answers, as nobody does who shuts down.
NO_ANSWER = 69


def _celery(site: Site, *arguments: str, codes: Collection[int] = (0,)) -> str:
    """Run a command of Celery's as an operator of this environment; gives what it says."""
    ended = subprocess.run(
        [*CELERY, *arguments],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], **site.settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode in codes, ended.stdout + ended.stderr
    return ended.stdout


def _wait_alone(site: Site) -> None:
    """Wait until a question to all workers is answered, and insist that the only one of this environment did."""

    def answered() -> bool:
        told = _celery(site, "inspect", "--timeout", "5", "ping", codes=(0, NO_ANSWER))
        assert "2 nodes online" not in told
        return "1 node online" in told

    site.wait_for("the worker's answer", answered, UP_LIMIT)


@pytest.mark.timeout(900)
def test_harm_done_to_one_environment_does_not_touch_the_other(make_site: MakeSite, seed: int) -> None:
    ours, others = make_site(workers=1), make_site(PATIENT, workers=1)
    our_load, others_load = Load(seed, 1_000).prepare(ours), Load(seed + 1, 1_000).prepare(others)
    others.start()
    ours.run(ours.bridge)
    with our_load.keep_busy(ours, 500), others_load.keep_busy(others, 500):
        ours.wait_for("messages to purge", lambda: len(queue_of(ours)) > 0, UP_LIMIT)
        others.wait_working(others.worker, 100)
        _celery(ours, "purge", "--force")
        ours.run(ours.worker)
        for _ in range(2):
            ours.wait_working(ours.worker, 50)
            ours.kill(ours.worker)
        ours.wait_working(ours.worker, 50)
        # a command to all workers reaches those of its own environment alone
        _wait_alone(ours)
        ours.dismiss(ours.worker)
        _celery(ours, "control", "shutdown", codes=(0, NO_ANSWER))
        assert ours.worker.wait() == 0
        ours.kill(ours.bridge)
        others.supervise()
        ours.run(ours.bridge, ours.worker)
    ours.wait_settled(180)
    others.wait_settled(180)

    our_load.verdict(ours).check()
    verdict = others_load.verdict(others)
    verdict.check()
    assert verdict.repeated == ()
    assert others.restarts.total() == 0
    assert ours.restarts.total() == 0
    for site, load in ((ours, our_load), (others, others_load)):
        everyone = set(load.learners)
        assert {certificate_learner(record) for record in site.certificates.records()} <= everyone
        assert {audit_learner(record) for record in site.audits.records()} <= everyone
        assert site.failed.records() == []
