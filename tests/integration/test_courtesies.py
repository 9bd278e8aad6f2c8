"""The courtesies to the learner, all on and all off, with a real bridge and worker (docs/courtesies.md)."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from devstack.ports import HOST, Ports, free_port
from reconciliation.course_list import course_list_key
from tests.integration.conftest import MakeInstallation
from tests.support.checks import check_announced_once
from tests.support.events import check_audit, check_certificate, encoded, sync_event
from tests.support.installation import Installation, new_learner
from tests.support.redis_proxy import Command, RedisProxy
from tests.support.relations import CourseTree, course_of_units
from tests.support.relay import Treatment
from tests.support.tables import OTHERS_CELLS, Learner
from tests.support.waiting import wait_until

#: When the learners of these tests were done: 2023-11-14T22:13:20.
DONE_MS = 1_700_000_000_000
CHANNEL = "org.tenant.école"
CACHE_DATABASE = 4
#: Within this of a request, in milliseconds, its completion was written.
SOON_MS = 120_000


@pytest.fixture(scope="module")
def kind(make_installation: MakeInstallation, ports: Ports) -> Iterator[Installation]:
    """An installation with every courtesy on."""
    settings = {
        "ENROLMENT_CACHE_DROP": "true",
        "ENROLMENT_CACHE_REDIS_URL": ports.redis_url(CACHE_DATABASE),
        "ENROLMENT_COMPLETEDON_FROM_CONSUMPTION": "true",
        "ENROLMENT_COMPLETIONPERCENTAGE_WRITE": "true",
        "REQUEST_BATCH_SYNC_ACCEPT": "true",
        "AUDIT_CHANNEL": CHANNEL,
    }
    with make_installation(settings) as made:
        yield made.start()


@pytest.fixture
def cache(ports: Ports) -> Iterator[Any]:
    with redis.Redis(host=HOST, port=ports.redis, db=CACHE_DATABASE, socket_timeout=10) as client:
        yield client


def with_course(installation: Installation) -> Learner:
    """Make a learner whose course requires a, b and c, and has an optional content; nothing is consumed yet."""
    learner = new_learner()
    tree = course_of_units(learner.course, {"unit": {"a", "b", "c", "extra"}})
    installation.relations.fill(
        CourseTree(learner.course, tree.leaf_nodes, {learner.course: {"extra"}}, tree.ancestors)
    )
    installation.tables.add_enrolments([learner])
    return learner


def completed(installation: Installation) -> Learner:
    """Make a learner who completed all that is required, the last of it at `DONE_MS`."""
    learner = with_course(installation)
    earlier, text = DONE_MS - 5_000_000, "2023-11-14 20:00:00:000+0000"
    installation.tables.add_completed(
        learner,
        {"a": (earlier, None), "b": (DONE_MS, text), "c": (None, text), "extra": (DONE_MS + 60_000, None)},
    )
    return learner


def row_of(installation: Installation, learner: Learner) -> dict[str, Any]:
    row = installation.tables.enrolment(learner)
    assert row is not None
    return row


def test_a_completion_says_when_the_learner_was_done(kind: Installation, cache: Any) -> None:
    learner, other = completed(kind), new_learner()
    keys = {each: course_list_key(each.user) for each in (learner, other)}
    cache.mset(dict.fromkeys(keys.values(), "{}"))

    kind.sync(learner)

    row = row_of(kind, learner)
    assert (row["status"], row["progress"], row["completionpercentage"]) == (2, 3, 100)
    assert row["completedon"] == DONE_MS
    assert abs(row["datetime"] - time.time() * 1000) < SOON_MS
    others = {name: cell for name, cell in OTHERS_CELLS.items() if name == "addedby"}
    assert {name: row[name] for name in others} == others
    announced = kind.announced(learner)
    (certificate,), (audit,) = announced.certificates, announced.audits
    check_certificate(certificate, learner, DONE_MS)
    check_audit(audit, learner, CHANNEL)
    wait_until("the cached list is dropped", lambda: not cache.exists(keys[learner]))
    assert cache.exists(keys[other])


def test_progress_comes_with_its_percentage_and_drops_the_list(kind: Installation, cache: Any) -> None:
    learner = with_course(kind)
    kind.tables.add_consumption({learner: {"a": 2, "b": 2, "c": 1, "extra": 2}})
    cache.set(course_list_key(learner.user), "{}")

    kind.sync(learner)

    row = row_of(kind, learner)
    assert (row["status"], row["progress"], row["completionpercentage"], row["completedon"]) == (1, 2, 66, None)
    wait_until("the cached list is dropped", lambda: not cache.exists(course_list_key(learner.user)))


def test_a_learner_who_consumed_nothing_keeps_the_list(kind: Installation, cache: Any) -> None:
    idle, learner = with_course(kind), with_course(kind)
    kind.tables.add_consumption({learner: {"a": 2}})
    cache.mset({course_list_key(each.user): "{}" for each in (idle, learner)})

    kind.sync(idle)
    kind.sync(learner)

    # a list is dropped in the order in which rows were written
    wait_until("the other's list is dropped", lambda: not cache.exists(course_list_key(learner.user)))
    assert cache.exists(course_list_key(idle.user))
    assert row_of(kind, idle)["completionpercentage"] == OTHERS_CELLS["completionpercentage"]


def test_a_completion_that_somebody_set_back_is_completed_and_announced_again(kind: Installation) -> None:
    learner = completed(kind)
    kind.sync(learner)
    assert row_of(kind, learner)["completedon"] == DONE_MS

    for count in (2, 3):
        began_ms = time.time() * 1000
        kind.tables.add_enrolments([learner], completedon=None)
        kind.sync(learner)

        row = row_of(kind, learner)
        assert row["status"] == 2
        assert abs(row["completedon"] - began_ms) < SOON_MS
        announced = kind.announced(learner)
        assert (len(announced.certificates), len(announced.audits)) == (count, count)
        assert len({record.event["mid"] for record in announced.certificates}) == count
        check_certificate(announced.certificates[-1], learner, row["completedon"])

    # another click finds it completed
    kind.sync(learner)
    assert len(kind.announced(learner).certificates) == 3


def test_a_merged_account_is_reconciled(kind: Installation) -> None:
    learner = completed(kind)
    event = sync_event(learner, action="batch-enrolment-sync", reset=["completionPercentage", "status", "progress"])

    kind.send_records([(None, encoded(event))])
    kind.wait_settled()

    assert row_of(kind, learner)["status"] == 2
    assert len(kind.announced(learner).certificates) == 1


def test_explain_names_the_time_that_a_sync_would_write(kind: Installation) -> None:
    learner = completed(kind)
    ids = ("--user", learner.user, "--course", learner.course, "--batch", learner.batch)

    document = json.loads(kind.operate("explain", *ids, "--json"))

    (change,) = [it for it in document["effect"]["changes"] if it["cell"] == "completedon"]
    assert (change["before"], change["after"]) == (None, DONE_MS)


def test_check_looks_at_what_the_courtesies_need(kind: Installation, ports: Ports) -> None:
    def course_lists(**settings: str) -> dict[str, str]:
        patient = {"ENROLMENT_CACHE_TIMEOUT": "20"}
        ended = kind.run_command("check", "--json", "--limit", "20", settings={**patient, **settings})
        found = [it for it in json.loads(ended.stdout)["checks"] if it["server"] == "course list cache"]
        assert "hunter2" not in ended.stdout
        return {it["what"]: it["state"] for it in found}

    assert course_lists() == {"answers": "ok", "keys": "ok"}
    assert course_lists(ENROLMENT_CACHE_REDIS_URL="") == {"answers": "ok", "keys": "ok"}
    away = f"redis://u:hunter2@{HOST}:{free_port()}/0"
    assert course_lists(ENROLMENT_CACHE_REDIS_URL=away) == {"answers": "warning", "keys": "not looked at"}
    wrong = ports.redis_url(0).replace("redis://", "redis://u:hunter2@")
    assert course_lists(ENROLMENT_CACHE_REDIS_URL=wrong) == {"answers": "warning", "keys": "not looked at"}
    assert course_lists(ENROLMENT_CACHE_DROP="false") == {}


def test_a_cache_that_hangs_holds_no_request_up(make_installation: MakeInstallation, ports: Ports, cache: Any) -> None:
    def unlink(command: Command) -> bool:
        return command.parts[0].upper() == b"UNLINK"

    with RedisProxy(ports.redis) as proxy:
        url = proxy.url.removesuffix("/0") + f"/{CACHE_DATABASE}"
        settings = {"ENROLMENT_CACHE_DROP": "true", "ENROLMENT_CACHE_REDIS_URL": url, "ENROLMENT_CACHE_TIMEOUT": "30"}
        with make_installation(settings) as installation:
            learners = [completed(installation) for _ in range(5)]
            cache.mset({course_list_key(learner.user): "{}" for learner in learners})
            installation.start()
            installation.sync(completed(installation))
            with proxy.fault(Treatment.HOLD_REQUEST, unlink) as hanging:
                for learner in learners:
                    # below what one call of the cache may take
                    installation.sync(learner, limit=20)
                hanging.wait()
                assert cache.exists(course_list_key(learners[-1].user))
            wait_until(
                "all are dropped", lambda: not any(cache.exists(course_list_key(each.user)) for each in learners)
            )
            for learner in learners:
                check_announced_once(installation, learner)


def test_without_them_all_is_as_ever(installation: Installation, ports: Ports) -> None:
    learner, merged = completed(installation), completed(installation)
    key = course_list_key(learner.user)
    installation.sync(with_course(installation))
    skipped = installation.metrics("bridge")["skipped_events_count_total"]
    with redis.Redis(host=HOST, port=ports.redis, db=0, socket_timeout=10) as database:
        database.set(key, "{}")
        try:
            installation.send_records([(None, encoded(sync_event(merged, action="batch-enrolment-sync")))])
            installation.sync(learner)
            assert database.exists(key)
        finally:
            database.delete(key)

    row = row_of(installation, learner)
    assert (row["status"], row["completionpercentage"]) == (2, OTHERS_CELLS["completionpercentage"])
    assert abs(row["completedon"] - time.time() * 1000) < SOON_MS
    check_announced_once(installation, learner)
    assert row_of(installation, merged)["status"] == 1
    assert installation.announced(merged).certificates == []
    assert installation.metrics("bridge")["skipped_events_count_total"] == skipped + 1
