"""Flower beside a real bridge and worker, and a load in which requests end in every way there is. Free of pytest."""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devstack.ports import HOST, free_port
from tests.browser.chromium import Chromium
from tests.support.events import encoded, sync_event
from tests.support.installation import Installation, new_learner
from tests.support.processes import CELERY, Process
from tests.support.relations import course_of_units
from tests.support.tables import Learner
from tests.support.waiting import wait_until

FLOWER = (*CELERY, "flower")
USER = "operator:choose-a-password"
AUTHORIZATION = {"Authorization": f"Basic {base64.b64encode(USER.encode()).decode()}"}
WORKER_NAME = "celery@worker-1"
SETTINGS = {
    # three tries: one in the group, one that can be revoked in its wait, one that decides
    "RETRY_ATTEMPTS": "3",
    "RETRY_BACKOFF_FIRST": "10",
    # what waits for a worker is not sent a second time, so the queue's length is known
    "LEDGER_SWEEP_AFTER": "900",
}
UP_LIMIT = 60.0
LOAD_LIMIT = 90.0


class Flower:
    """Flower with a password, as its users start it.

    Args:
        installation: whose broker and settings it has.
        logs: a folder for its output.
        variables: more variables; an empty one is left out.

    """

    def __init__(self, installation: Installation, logs: Path, variables: Mapping[str, str] | None = None) -> None:
        self.port = free_port(installation.metrics_ports.values())
        self.address = f"http://{HOST}:{self.port}"
        every = {**installation.settings, "FLOWER_BASIC_AUTH": USER, **(variables or {})}
        settings = {name: value for name, value in every.items() if value}
        command = [*FLOWER, f"--port={self.port}"]
        self.process = Process("flower", command, settings, logs / f"{installation.environment}-flower.log")

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.process.start()
        wait_until("Flower answers", self._answers, UP_LIMIT)

    def get(self, path: str) -> Any:
        """Give an answer of its API."""
        return json.loads(self.ask(path)[1])

    def ask(self, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> tuple[int, str]:
        """Give status and body of any answer; with the password unless other headers are given."""
        asked = urllib.request.Request(  # noqa: S310 - our own address
            self.address + path, method=method, headers=AUTHORIZATION if headers is None else headers
        )
        try:
            with urllib.request.urlopen(asked, timeout=20) as answer:  # noqa: S310 - our own address
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def tasks(self) -> dict[str, dict[str, Any]]:
        """Give every task that Flower knows by its id."""
        found: dict[str, dict[str, Any]] = self.get("/api/tasks")
        return found

    def state(self, task_id: str) -> str | None:
        """Give a task's state; None while Flower does not know it."""
        return self.tasks().get(task_id, {}).get("state")

    def in_hand(self, worker: str) -> int | None:
        """Give how many tasks a worker said it has, with its last heartbeat; None while Flower does not know it."""
        workers = {told["hostname"]: told for told in self.get("/workers?json=1")["data"]}
        active: int | None = workers.get(worker, {}).get("active")
        return active

    def queue_lengths(self) -> dict[str, int]:
        """Give how many messages wait in each queue."""
        return {queue["name"]: queue["messages"] for queue in self.get("/api/queues/length")["active_queues"]}

    def _answers(self) -> bool:
        self.process.check_alive()
        try:
            return self.ask("/healthcheck")[0] == 200
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class Stage:
    """What the tests look at.

    `waiting` is the broker's page, and `lengths` the API's answer, while messages waited and no worker ran; `in_redis`
    is how many Redis held then. `retried`, `failed` and `revoked` are ids of tasks that ended so.
    """

    installation: Installation
    flower: Flower
    browser: Chromium
    learners: tuple[Learner, ...]
    waiting: str
    lengths: dict[str, int]
    in_redis: int
    retried: str
    failed: str
    revoked: str


def load(
    installation: Installation, flower: Flower, browser: Chromium, courses: Sequence[str | None] = (None,) * 4
) -> Stage:
    """Send the load and see it through.

    `courses` names the courses of the two requests that go well, then of the two that don't; None is a new one.
    """
    learners = [new_learner(course) for course in courses]
    well, lost = learners[:2], learners[2:]
    for learner in well:
        installation.relations.fill(course_of_units(learner.course, {"unit1": {"a"}, "unit2": {"b"}}))
    installation.tables.add_consumption({learner: {"a": 2, "b": 2} for learner in learners})
    installation.tables.add_enrolments(learners)
    # one partition and already there when the bridge comes: they are taken together and make one group
    failed, revoked = installation.send_records([(b"together", encoded(sync_event(learner))) for learner in lost])
    installation.bridge.start()
    installation.wait_accepted()
    for learner in well:
        installation.send(learner)
        installation.wait_accepted()
    lengths = flower.queue_lengths()
    in_redis = installation.redis.llen(f"{installation.group_id}:celery:{installation.group_id}")
    browser.open(f"{flower.address}/broker", "document.querySelector('#queue-table tbody tr')")
    waiting = browser.text()

    installation.worker.add_arguments(f"--hostname={WORKER_NAME}")
    installation.worker.start()
    revoked_id, failed_id = installation.entry_id(revoked), installation.entry_id(failed)
    wait_until("it is to be tried again", lambda: flower.state(revoked_id) == "RETRY", LOAD_LIMIT)
    browser.open(f"{flower.address}/task/{revoked_id}", "document.querySelector('#task-revoke')")
    browser.click("#task-revoke")
    browser.wait("document.querySelector('#task-revoke').disabled")
    installation.wait_settled(LOAD_LIMIT)
    wait_until("Flower has heard of the end", lambda: flower.state(failed_id) == "FAILURE")
    wait_until("Flower has heard of the revocation", lambda: flower.state(revoked_id) == "REVOKED")
    # every task's end was told, but how many are in hand comes with the worker's heartbeat, every two seconds
    wait_until("Flower has heard that the worker has nothing in hand", lambda: flower.in_hand(WORKER_NAME) == 0)
    (retried,) = [task for task, told in flower.tasks().items() if told["state"] == "RETRY"]
    return Stage(
        installation,
        flower,
        browser,
        tuple(learners),
        waiting,
        lengths,
        in_redis,
        retried,
        failed_id,
        revoked_id,
    )
