"""What processes say of their health, and how it is served."""

import json
import urllib.request
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from prometheus_client import CollectorRegistry

from bridge.health import KAFKA_SILENCE, BridgeHealth
from bridge.pacing import Hold
from devstack.ports import free_port
from reconciliation.health import Heartbeat
from reconciliation.health_endpoint import with_health
from reconciliation.metrics_endpoint import serve_metrics
from worker.health import READY_SILENCE, CeleryLoop, WorkerHealth

LIMIT = 300.0


def test_a_heartbeat_is_late_beyond_its_limit() -> None:
    heart = Heartbeat(10.0, 100.0)
    assert not heart.is_late(110.0)
    assert heart.is_late(110.1)
    heart.beat(108.0)
    assert not heart.is_late(118.0)
    heart.beat(101.0)
    assert heart.silence(118.0) == 10.0
    assert heart.silence(107.0) == 0.0


# the bridge


def _bridge_at_work() -> BridgeHealth:
    health = BridgeHealth(LIMIT, 0.0)
    health.turned(1.0, 1.0)
    health.ended_round(None)
    return health


def test_a_bridge_is_ready_once_it_has_asked_both_servers() -> None:
    health = BridgeHealth(LIMIT, 0.0)
    assert health.against_life(1.0) == []
    assert health.against_readiness(1.0) == ["the ledger has not been asked yet", "Kafka has not answered yet"]
    health.ended_round(None)
    health.turned(2.0, None)
    assert health.against_readiness(2.0) == ["Kafka has not answered yet"]
    health.turned(3.0, 2.5)
    assert health.against_readiness(3.0) == []


def test_a_bridge_whose_loop_stands_still_is_stuck() -> None:
    health = _bridge_at_work()
    assert health.against_life(301.0) == []
    (reason,) = health.against_life(301.5)
    assert "stands still for 300 s" in reason
    assert reason in health.against_readiness(301.5)
    health.turned(302.0, 302.0)
    assert health.against_life(302.0) == []


@pytest.mark.parametrize("hold", Hold)
def test_a_bridge_is_not_ready_while_a_server_is_away_and_lives(hold: Hold) -> None:
    health = _bridge_at_work()
    health.ended_round(hold)
    is_for_all = hold in (Hold.LEDGER_FULL, Hold.TOO_MANY_FAILURES, Hold.OFFSET_TAKEN, Hold.OPERATOR)
    assert health.against_readiness(2.0) == ([] if is_for_all else [str(hold)])
    assert health.against_life(2.0) == []
    health.ended_round(None)
    assert health.against_readiness(2.0) == []


def test_a_bridge_is_not_ready_while_kafka_is_silent() -> None:
    health = _bridge_at_work()
    health.turned(1.0 + KAFKA_SILENCE, 1.0)
    assert health.against_readiness(1.0 + KAFKA_SILENCE) == []
    health.turned(2.0 + KAFKA_SILENCE, 1.0)
    assert health.against_readiness(2.0 + KAFKA_SILENCE) == ["Kafka is silent for 46 s"]


def test_a_bridge_that_stops_lives_and_is_not_ready() -> None:
    health = _bridge_at_work()
    health.stop()
    assert health.against_readiness(2.0) == ["the bridge stops"]
    assert health.against_life(1000.0) == []


# the worker


class _Worker:
    """A worker's health with what it asks for in hand."""

    def __init__(self, *, has_store: bool = True) -> None:
        self.is_all_hung = self.is_stopping = False
        self.is_store_open = self.is_broker_there = True
        self.loop = CeleryLoop(LIMIT, lambda: self.is_broker_there, 0.0)
        self.health = WorkerHealth(
            self.loop,
            lambda: self.is_all_hung,
            (lambda: self.is_store_open) if has_store else None,
            lambda: self.is_stopping,
        )


NOT_TURNING = "Celery's loop does not turn: is its broker there?"


def test_a_worker_that_looks_for_its_broker_lives_and_is_not_ready() -> None:
    worker = _Worker()
    assert worker.health.against_readiness(1.0) == [NOT_TURNING]
    worker.is_broker_there = False
    for now in (100.0, 1_000.0, 10_000.0):
        assert worker.health.against_life(now) == []
        assert worker.health.against_readiness(now) == [NOT_TURNING]
    # it is back, and the loop takes its time to find out
    worker.is_broker_there = True
    assert worker.health.against_life(20_000.0) == []
    assert worker.health.against_life(20_300.0) == []
    worker.loop.turned(20_301.0)
    assert worker.health.against_readiness(20_301.0) == []
    assert worker.health.against_readiness(20_301.0 + READY_SILENCE) == []
    assert worker.health.against_readiness(20_302.0 + READY_SILENCE) == [NOT_TURNING]


def test_a_worker_whose_loop_stands_still_though_the_broker_is_there_is_stuck() -> None:
    worker = _Worker()
    worker.loop.turned(1.0)
    assert worker.health.against_life(1.0 + READY_SILENCE) == []
    assert worker.health.against_life(20.0) == []
    assert worker.health.against_life(20.0 + LIMIT) == []
    (reason,) = worker.health.against_life(21.0 + LIMIT)
    assert "Celery's loop stands still for 320 s though the broker answers" in reason
    worker.is_stopping = True
    assert worker.health.against_life(21.0 + LIMIT) == []
    worker.is_stopping = False
    worker.loop.turned(400.0)
    assert worker.health.against_life(400.0) == []
    assert worker.health.against_life(420.0) == []


def test_a_broker_that_goes_away_in_between_makes_the_wait_begin_anew() -> None:
    worker = _Worker()
    worker.loop.turned(1.0)
    assert worker.health.against_life(20.0) == []
    worker.is_broker_there = False
    assert worker.health.against_life(200.0) == []
    worker.is_broker_there = True
    assert worker.health.against_life(330.0) == []
    assert worker.health.against_life(330.0 + LIMIT) == []
    assert worker.health.against_life(331.0 + LIMIT) != []


def test_a_worker_in_which_nothing_but_hanging_attempts_is_left_is_stuck() -> None:
    worker = _Worker()
    worker.loop.turned(1.0)
    worker.is_all_hung = True
    assert worker.health.against_life(1.0) == ["attempts hang and no other one runs"]
    worker.is_stopping = True
    assert worker.health.against_life(1.0) == ["attempts hang and no other one runs"]


def test_a_worker_is_ready_once_cassandra_was_reached() -> None:
    worker = _Worker()
    worker.loop.turned(1.0)
    worker.is_store_open = False
    assert worker.health.against_readiness(1.0) == ["Cassandra has not been reached yet"]
    elsewhere = _Worker(has_store=False)
    elsewhere.loop.turned(1.0)
    assert elsewhere.health.against_readiness(1.0) == []


def test_a_worker_that_stops_is_not_ready() -> None:
    worker = _Worker()
    worker.loop.turned(1.0)
    worker.is_stopping = True
    assert worker.health.against_readiness(1.0) == ["the worker stops"]


# how it is served


class _Served:
    """The two paths over a health that is told what to say."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.asked_at: list[float] = []
        self.codes: list[str] = []
        self._app = with_health(self._metrics, self, clock=lambda: 17.0)

    def against_life(self, now: float) -> list[str]:
        self.asked_at.append(now)
        return self.reasons

    def against_readiness(self, now: float) -> list[str]:
        return [*self.against_life(now), "more"]

    def get(self, path: str) -> tuple[str, bytes]:
        body = b"".join(self._app({"PATH_INFO": path}, self._start))  # type: ignore[arg-type]  # ours needs no more
        return self.codes.pop(), body

    def _start(self, status: str, _headers: list[tuple[str, str]], *_: object) -> None:
        self.codes.append(status)

    @staticmethod
    def _metrics(_environment: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        start("200 OK", [])
        return [b"metrics"]


def test_health_is_served_beside_the_metrics() -> None:
    served = _Served()
    assert served.get("/metrics") == ("200 OK", b"metrics")
    assert served.get("/") == ("200 OK", b"metrics")
    assert served.get("/health/live") == ("200 OK", b'{"status": "alive"}\n')
    assert served.asked_at == [17.0]
    code, body = served.get("/health/ready")
    assert code.startswith("503")
    assert json.loads(body) == {"status": "not ready", "reasons": ["more"]}
    served.reasons = ["it hangs"]
    code, body = served.get("/health/live")
    assert code.startswith("503")
    assert json.loads(body) == {"status": "stuck", "reasons": ["it hangs"]}


def test_both_families_of_addresses_are_served() -> None:
    served = _Served()
    for address in ("127.0.0.1", "::1", "localhost"):
        port = free_port()
        serve_metrics(CollectorRegistry(), address, port, "metrics.bridge.port", served)
        host = f"[{address}]" if ":" in address else address
        with urllib.request.urlopen(f"http://{host}:{port}/health/live", timeout=10) as answer:
            assert json.load(answer) == {"status": "alive"}
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=10) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain")
