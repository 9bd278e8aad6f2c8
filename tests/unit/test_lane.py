"""Which queues a worker asks for its next message."""

from collections.abc import Iterator
from typing import Any

import pytest
from kombu import Connection
from kombu.message import Message

from worker.lane import CLICKS_LINGER, SHORT_WAIT, ClicksFirst, ClicksSeen

CLICKS, RUNS = "group", "group-bulk"


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    # kombu's own channel and bound on messages in hand, without a server: in memory
    with Connection("memory://") as connection:
        opened = connection.channel()
        monkeypatch.setattr(opened, "brpop_timeout", 1, raising=False)
        monkeypatch.setattr(opened, "active_queues", [RUNS, CLICKS], raising=False)
        yield opened


def take(channel: Any, tag: str, queue: str) -> None:
    message = Message(b"", delivery_tag=tag, delivery_info={"exchange": "", "routing_key": queue}, channel=channel)
    channel.qos.append(message, tag)


def test_clicks_come_first_and_runs_only_while_their_threads_are_free(channel: Any) -> None:
    lane = ClicksFirst(channel, RUNS, most=2, most_without=2, clicks=ClicksSeen())
    assert lane.consume(2) == [CLICKS, RUNS]
    take(channel, "1", RUNS)
    take(channel, "2", CLICKS)
    assert lane.consume(2) == [CLICKS, RUNS]
    take(channel, "3", RUNS)
    assert lane.consume(2) == [CLICKS]
    channel.qos.ack("1")
    assert lane.consume(2) == [CLICKS, RUNS]
    assert lane.rotate(CLICKS) == CLICKS
    assert lane.consume(2) == [CLICKS, RUNS]


def test_a_worker_of_runs_alone_gives_them_all_its_threads(channel: Any) -> None:
    lane = ClicksFirst(channel, RUNS, most=1, most_without=1, clicks=ClicksSeen())
    lane.update([RUNS])
    for number in range(4):
        take(channel, str(number), RUNS)
        assert lane.consume(1) == [RUNS]


def test_questions_are_short_while_a_run_is_worked_on(channel: Any) -> None:
    lane = ClicksFirst(channel, RUNS, most=1, most_without=1, clicks=ClicksSeen())
    lane.took(CLICKS)
    assert channel.brpop_timeout == 1
    take(channel, "1", RUNS)
    lane.took(RUNS)
    for _ in range(100):
        lane.consume(2)
    assert channel.brpop_timeout == SHORT_WAIT
    channel.qos.ack("1")
    for _ in range(100):
        lane.consume(2)
    assert channel.brpop_timeout == 1


def test_while_no_click_comes_a_run_has_more_threads(channel: Any) -> None:
    now = [100.0]
    clicks = ClicksSeen(lambda: now[0])
    lane = ClicksFirst(channel, RUNS, most=1, most_without=3, clicks=clicks)
    take(channel, "1", RUNS)
    take(channel, "2", RUNS)
    assert lane.consume(2) == [CLICKS, RUNS]
    take(channel, "3", RUNS)
    assert lane.consume(2) == [CLICKS]
    clicks.note()
    channel.qos.ack("3")
    channel.qos.ack("2")
    assert lane.consume(2) == [CLICKS]
    now[0] += CLICKS_LINGER - 0.1
    assert lane.consume(2) == [CLICKS]
    now[0] += 0.1
    assert lane.consume(2) == [CLICKS, RUNS]


def test_a_worker_of_one_thread_takes_a_run_s_message_without_clicks_too(channel: Any) -> None:
    lane = ClicksFirst(channel, RUNS, most=1, most_without=0, clicks=ClicksSeen())
    assert lane.consume(2) == [CLICKS, RUNS]


def test_clicks_have_come_for_a_while() -> None:
    now = [0.0]
    clicks = ClicksSeen(lambda: now[0])
    assert not clicks.come()
    clicks.note()
    assert clicks.come()
    now[0] = CLICKS_LINGER
    assert not clicks.come()
