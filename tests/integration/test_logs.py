"""What bridge and workers log: every line in one form, each request's end, and no learner (docs/metrics.md)."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import pytest

from devstack.ports import Ports
from reconciliation.personal import hashed
from tests.faults.poisonous import POISON
from tests.integration.conftest import MakeInstallation
from tests.support.cassandra_proxy import CassandraProxy
from tests.support.events import encoded
from tests.support.installation import Installation, new_learner, unique
from tests.support.kafka_proxy import KafkaProxy
from tests.support.processes import Process
from tests.support.redis_proxy import RedisProxy
from tests.support.relations import course_of_units
from tests.support.relay import Relay
from tests.support.tables import Learner
from tests.support.waiting import wait_until

FAST = {
    "LOG_FORMAT": "json",
    "LEDGER_SWEEP_INTERVAL": "0.2",
    "OUTAGE_BACKOFF_MOST": "1",
    "RETRY_ATTEMPTS": "2",
    "RETRY_BACKOFF_FIRST": "0.2",
}

#: How often a server that is away is looked for before what was said of it is held against the product.
TRIES = 10


def started(installation: Installation) -> Installation:
    for process in installation.processes:
        process.part_errors()
    return installation.start()


def lines(process: Process) -> list[dict[str, Any]]:
    """Read each line on standard error as JSON, and insist on what all of them have."""
    records: list[dict[str, Any]] = []
    for line in process.error_lines():
        record = json.loads(line)
        assert isinstance(record, dict)
        assert {"timestamp", "level", "logger", "event"} <= record.keys()
        datetime.fromisoformat(record["timestamp"])
        records.append(record)
    return records


def says(process: Process, text: str) -> bool:
    """Whether this stands on standard error, whose last line may be half written."""
    return any(text in line for line in process.error_lines())


def ends(process: Process, *learners: Learner, ids: str = "hashed") -> list[dict[str, Any]]:
    """Give the lines that tell the ends of these learners' requests."""
    users = {learner.user if ids == "plain" else hashed(learner.user) for learner in learners}
    return [it for it in lines(process) if it["event"] == "a request ended" and it.get("user") in users]


def prepare(installation: Installation, course: str, count: int, consumption: dict[str, int]) -> list[Learner]:
    learners = [new_learner(course) for _ in range(count)]
    installation.tables.add_consumption(dict.fromkeys(learners, consumption))
    installation.tables.add_enrolments(learners)
    return learners


def check_nobody_named(installation: Installation, learners: Sequence[Learner]) -> None:
    for process in installation.processes:
        written = "\n".join(process.error_lines()) + process.output()
        assert [learner.user for learner in learners if learner.user in written] == []


def test_every_line_is_json_and_names_no_learner_through_a_load_and_outages(
    make_installation: MakeInstallation, ports: Ports
) -> None:
    with (
        RedisProxy(ports.redis) as redis,
        CassandraProxy(ports.cassandra) as cassandra,
        KafkaProxy(ports.kafka) as kafka,
        make_installation(
            {
                **FAST,
                **cassandra.settings,
                "CELERY_BROKER_URL": redis.url,
                "KAFKA_BROKER_SERVERS": kafka.bootstrap,
                "KAFKA_TIMEOUT": "10",
            }
        ) as installation,
    ):
        course, broken = new_learner().course, new_learner().course
        installation.relations.fill(course_of_units(course, {"unit1": {"a"}}))
        started(installation)
        completed = prepare(installation, course, 30, {"a": 2})
        begun = prepare(installation, course, 5, {"a": 1})
        given_up = prepare(installation, broken, 2, {"a": 2})
        installation.send_records([(b"key", b"no JSON"), (None, encoded({"edata": {"action": "other"}}))])
        installation.sync(*completed[:10], *begun, *given_up)
        noticed: dict[Relay[Any], Callable[[], bool]] = {
            redis: lambda: (
                redis.turned_away >= TRIES
                and says(installation.bridge, '"event": "paused')
                and says(installation.worker, '"logger": "celery')
            ),
            cassandra: lambda: any(waits >= 1 for _, waits in installation.spent()),
            kafka: lambda: kafka.turned_away >= TRIES,
        }
        for proxy, more in ((redis, completed[10:15]), (cassandra, completed[15:20]), (kafka, completed[20:25])):
            proxy.cut()
            if proxy is not kafka:
                installation.send(*more)
            wait_until("everybody has noticed", noticed[proxy])
            proxy.is_cut = False
            if proxy is kafka:
                installation.send(*more)
            installation.wait_settled(limit=90)
        installation.sync(*completed[25:])
        installation.end()

        check_nobody_named(installation, [*completed, *begun, *given_up])
        told = lines(installation.worker)
        assert {it["logger"].partition(".")[0] for it in told} >= {"tasks", "worker", "celery"}
        for learner in completed:
            (end,) = (it for it in ends(installation.worker, learner) if it["outcome"] == "done")
            assert (end["level"], end["verdict"], end["course"]) == ("info", "completed", course)
            assert end["batch"] == learner.batch
            assert end["attempts"] == 1
            assert 0 < end["seconds"] <= end["age"] < 300
            assert end["task"]
        assert {it["verdict"] for it in ends(installation.worker, *begun)} == {"in progress"}
        for learner in given_up:
            retried, last = ends(installation.worker, learner)
            assert (retried["outcome"], retried["level"], retried["attempts"]) == ("retried", "warning", 1)
            assert (last["outcome"], last["level"], last["attempts"]) == ("given up", "error", 2)
            assert retried["code"] == last["code"] == "RELATIONS_MISSING"
        # what waited for Cassandra is told by its tasks alone
        assert {it["outcome"] for it in told if it["event"] == "a request ended"} == {"done", "retried", "given up"}
        waiting = [it for it in told if it["event"] == "a task ended" and it["level"] == "warning"]
        assert any(it["waiting"] and it["reason"].startswith("STORE_UNAVAILABLE") for it in waiting)
        # where each request has its line, a task has none
        done = {it["task"] for it in ends(installation.worker, *completed[:10])}
        assert not [it for it in told if it["event"] == "a task ended" and it["task"] in done]
        # while Redis was away Celery tried again and again, and was heard seldom
        repeated = Counter(it["event"][:30] for it in told if it["logger"].startswith("celery"))
        assert max(repeated.values()) <= 3
        bridge = [it["event"] for it in lines(installation.bridge)]
        assert bridge.count("resumed") >= 1
        assert bridge[-1] == "the bridge has stopped"
        assert told[-1]["event"] == "the worker has stopped"


def test_plain_ids_are_shown_and_the_lines_can_be_turned_off(make_installation: MakeInstallation) -> None:
    course, broken = new_learner().course, new_learner().course
    with make_installation({**FAST, "LOG_ENROLMENT_IDS": "plain"}) as installation:
        installation.relations.fill(course_of_units(course, {"unit1": {"a"}}))
        quiet = installation.add_worker(settings={"LOG_REQUESTS": "false", "LOG_ENROLMENT_IDS": "none"})
        loud = installation.worker
        for process in installation.processes:
            process.part_errors()
        installation.bridge.start()
        loud.start()
        completed = prepare(installation, course, 2, {"a": 2})
        given_up = prepare(installation, broken, 1, {"a": 2})
        installation.sync(*completed, *given_up)
        loud.end()
        assert len(ends(loud, *completed, ids="plain")) == 2
        assert [it["outcome"] for it in ends(loud, *given_up, ids="plain")] == ["retried", "given up"]
        (learner,) = given_up
        assert {it["batch"] for it in ends(loud, learner, ids="plain")} == {learner.batch}

        quiet.start()
        completed = prepare(installation, course, 2, {"a": 2})
        given_up = prepare(installation, broken, 1, {"a": 2})
        installation.sync(*completed, *given_up)
        quiet.end()
        (last,) = (it for it in lines(quiet) if it["event"] == "a request ended")
        assert last["outcome"] == "given up"
        assert not {"user", "course", "batch"} & last.keys()
        tasks = [it for it in lines(quiet) if it["event"] == "a task ended"]
        assert sum(it["done"] for it in tasks) == 2
        assert [it["retried"] for it in tasks if it["level"] == "warning"] == [1]
        assert [it["given_up"] for it in tasks if it["level"] == "info"][-1] == 1
        assert not any(learner.user in line for learner in (*completed, *given_up) for line in quiet.error_lines())


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_error_that_nobody_foresaw_names_no_learner(make_installation: MakeInstallation, form: str) -> None:
    with make_installation({**FAST, "LOG_FORMAT": form, "PYTHONPATH": POISON}) as installation:
        course = new_learner().course
        installation.relations.fill(course_of_units(course, {"unit1": {"a"}}))
        started(installation)
        learner = Learner(unique("poison-raises"), course, unique("batch"))
        installation.tables.add_consumption({learner: {"a": 2}})
        installation.tables.add_enrolments([learner])
        installation.sync(learner)
        installation.end()
        (failed,) = installation.failures(learner)
        assert failed["failInfo"]["error"] == "RuntimeError: the plan of (learner) is broken"
        written = "\n".join(installation.worker.error_lines())
        assert written.count("a request could not be planned") == 2
        assert "the plan of (learner) is broken" in written
        check_nobody_named(installation, [learner])
