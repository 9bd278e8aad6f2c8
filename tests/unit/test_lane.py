"""Which queues a worker asks for its next message."""

from collections.abc import Iterator
from typing import Any

import pytest
from kombu import Connection
from kombu.message import Message

from worker.lane import SHORT_WAIT, ClicksFirst

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
    lane = ClicksFirst(channel, RUNS, most=2)
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
    lane = ClicksFirst(channel, RUNS, most=1)
    lane.update([RUNS])
    for number in range(4):
        take(channel, str(number), RUNS)
        assert lane.consume(1) == [RUNS]


def test_questions_are_short_while_a_run_is_worked_on(channel: Any) -> None:
    lane = ClicksFirst(channel, RUNS, most=1)
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
