"""Cached course lists, dropped from a real Redis; nothing that is wrong with it is felt by whoever drops them."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from devstack.ports import HOST, Ports
from reconciliation.course_list import MOST_WAITING, CourseList, course_list_key
from reconciliation.redis_options import course_list_client
from reconciliation.settings import load_settings
from tests.support.installation import unique
from tests.support.redis_proxy import Command, RedisProxy
from tests.support.relay import Treatment
from tests.support.threads import no_thread_starts
from tests.support.waiting import wait_until

DATABASE = 3
TIMEOUT = 0.5
#: Longer than any test here takes, in seconds.
PATIENT = 60.0

MakeList = Callable[..., CourseList]


@pytest.fixture
def cache(ports: Ports) -> Iterator[Any]:
    with redis.Redis(host=HOST, port=ports.redis, db=DATABASE, socket_timeout=10) as client:
        yield client


@pytest.fixture
def make_list() -> Iterator[MakeList]:
    """Makes what drops lists, at this port."""
    made: list[CourseList] = []

    def make(port: int, timeout: float = TIMEOUT) -> CourseList:
        url = f"redis://{HOST}:{port}/{DATABASE}"
        settings = load_settings({"ENROLMENT_CACHE_REDIS_URL": url})
        made.append(CourseList(course_list_client(settings, timeout), timeout))
        return made[-1]

    yield make
    for each in made:
        each.close()


def fill(cache: Any, users: list[str]) -> None:
    cache.mset({f"{user}:user-enrolments": "{}" for user in users})


def left(cache: Any, users: list[str]) -> int:
    return int(cache.exists(*(course_list_key(user) for user in users)))


def unlink(command: Command) -> bool:
    return command.parts[0].upper() == b"UNLINK"


def test_exactly_these_keys_are_dropped(ports: Ports, cache: Any, make_list: MakeList) -> None:
    users = [unique("ശ്രീ:*") for _ in range(1_200)]
    others = [unique("other"), users[0] + "x", users[0][:-1]]
    fill(cache, [*users, *others])
    cache.set(users[0], "mine")

    make_list(ports.redis).changed(users)

    wait_until("all are dropped", lambda: left(cache, users) == 0)
    assert left(cache, others) == len(others)
    assert cache.get(users[0]) == b"mine"


def test_the_default_is_database_0_beside_the_relation_cache(ports: Ports) -> None:
    settings = load_settings({"REDIS_HOST": HOST, "REDIS_PORT": str(ports.redis)})
    user = unique("user")
    with redis.Redis(host=HOST, port=ports.redis, db=0, socket_timeout=10) as database:
        database.set(course_list_key(user), "{}")
        lists = CourseList(course_list_client(settings, TIMEOUT), TIMEOUT)
        lists.changed([user])
        wait_until("it is dropped", lambda: not database.exists(course_list_key(user)))
        lists.close()


def test_the_end_drops_what_still_waits(ports: Ports, cache: Any, make_list: MakeList) -> None:
    users = [unique("user") for _ in range(3_000)]
    fill(cache, users)
    lists = make_list(ports.redis, PATIENT)

    lists.changed(users)
    lists.close()

    assert left(cache, users) == 0


def test_nobody_waits_for_a_cache_that_hangs_and_it_catches_up(ports: Ports, cache: Any, make_list: MakeList) -> None:
    users = [unique("user") for _ in range(20)]
    fill(cache, users)
    with RedisProxy(ports.redis) as proxy:
        lists = make_list(proxy.port, PATIENT)
        with proxy.fault(Treatment.HOLD_REQUEST, unlink) as hanging:
            began = time.monotonic()
            for user in users:
                lists.changed([user])
            hanging.wait()
            assert time.monotonic() - began < PATIENT
            assert left(cache, users) == len(users)
        wait_until("all are dropped", lambda: left(cache, users) == 0)


def test_what_was_not_answered_is_dropped_later(ports: Ports, cache: Any, make_list: MakeList) -> None:
    users = [unique("user") for _ in range(20)]
    fill(cache, users)
    with RedisProxy(ports.redis) as proxy:
        lists = make_list(proxy.port)
        with proxy.fault(Treatment.DROP_REQUEST, unlink, most=30) as lost:
            lists.changed(users)
            lost.wait(30)
        wait_until("all are dropped", lambda: left(cache, users) == 0)


def test_the_end_does_not_wait_for_a_cache_that_hangs(ports: Ports, cache: Any, make_list: MakeList) -> None:
    user = unique("user")
    fill(cache, [user])
    with RedisProxy(ports.redis) as proxy, proxy.fault(Treatment.HOLD_REQUEST, unlink) as hanging:
        lists = make_list(proxy.port)
        lists.changed([user])
        hanging.wait()
        # it would be held for ever
        lists.close()
        assert left(cache, [user]) == 1


def test_what_waits_for_a_cache_that_is_away_is_bounded(closed_port: int, make_list: MakeList) -> None:
    lists = make_list(closed_port)
    for number in range(MOST_WAITING + 2_000):
        lists.changed([f"user-{number}"])
    with lists._told:
        assert len(lists._waiting) <= MOST_WAITING
        assert f"user-{MOST_WAITING + 1_999}" in lists._waiting
    lists.close()


def test_a_refusal_is_told_once_and_does_not_end_it(
    ports: Ports, cache: Any, make_list: MakeList, capsys: pytest.CaptureFixture[str]
) -> None:
    user, later = unique("user"), unique("user")
    parts: list[str] = []

    def printed() -> str:
        parts.append(capsys.readouterr().out)
        return "".join(parts)

    fill(cache, [user, later])
    cache.acl_setuser("default", enabled=True, commands=["-unlink"])
    try:
        lists = make_list(ports.redis, PATIENT)
        lists.changed([user])
        wait_until("it is told", lambda: "can't be dropped" in printed())
        assert left(cache, [user]) == 1
    finally:
        cache.acl_setuser("default", enabled=True, commands=["+unlink"])
    lists.changed([later])
    wait_until("both are dropped", lambda: left(cache, [user, later]) == 0)
    told = printed()
    assert told.count("can't be dropped") == 1
    assert "ENROLMENT_CACHE_REDIS_URL" in told
    assert user not in told


def test_nobody_feels_that_no_thread_starts_and_the_next_change_catches_up(
    ports: Ports, cache: Any, make_list: MakeList, capsys: pytest.CaptureFixture[str]
) -> None:
    users = [unique("user") for _ in range(3)]
    fill(cache, users)
    lists = make_list(ports.redis)
    with no_thread_starts("course-list") as refused:
        lists.changed(users[:1])
        lists.changed(users[1:2])
    assert len(refused) == 2
    assert left(cache, users) == len(users)

    lists.changed(users[2:])

    wait_until("all are dropped", lambda: left(cache, users) == 0)
    assert capsys.readouterr().out.count("no thread starts") == 1


def test_after_an_error_that_nobody_foresaw_the_next_change_begins_anew(
    ports: Ports, cache: Any, make_list: MakeList, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    user, later = unique("user"), unique("user")
    fill(cache, [user, later])
    lists = make_list(ports.redis)

    def break_off(users: list[str]) -> bool:
        raise ValueError(users[0])

    with monkeypatch.context() as patch:
        patch.setattr(lists, "_drop", break_off)
        lists.changed([user])
        wait_until("its thread has ended", lambda: lists._thread is None)

    lists.changed([later])

    wait_until("it is dropped", lambda: left(cache, [later]) == 0)
    told = capsys.readouterr().out
    assert "ValueError" in told
    assert user not in told
