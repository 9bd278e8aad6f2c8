"""Attempts in processes of their own, where these can't even be started."""

import sys

import pytest
from prometheus_client import CollectorRegistry

from reconciliation.errors import WORKER_LOST
from tasks.isolation import OwnProcess, Unfinished
from tests.unit.test_outcomes import make_claim
from worker.metrics import WorkerMetrics


def test_a_process_that_can_not_be_started_is_nobody_s_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    metrics = WorkerMetrics(CollectorRegistry())
    ended = OwnProcess(5.0, metrics.counters, metrics.stages)(make_claim("entry"), "token", lambda: None)
    assert ended == Unfinished(WORKER_LOST, "the attempt's own process could not be started: No such file or directory")
