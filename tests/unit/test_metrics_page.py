"""docs/metrics.md names what is registered, no more and no less."""

import re
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric

from bridge.metrics import BridgeMetrics
from bridge.pacing import Hold
from reconciliation.counters import PREFIX
from worker.metrics import WorkerMetrics, show_worker

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"

#: A table's row: the metric with its labels, its kind, its meaning, and who measures it.
_ROW = re.compile(
    r"^\| `([a-z_]+)(?:\{([a-z_, ]+)\})?` \| (counter|gauge|histogram) \| .+ \| (bridge|worker|both) \|$", re.MULTILINE
)

#: The sentence that lists why a bridge takes nothing.
_HOLDS = re.compile(r"^`reason` of a hold is one of (.+?)\. ", re.MULTILINE)

Named = dict[str, tuple[str, set[str]]]


def registered(registry: CollectorRegistry) -> Named:
    return {_exported(family): (family.type, _labels(family)) for family in registry.collect()}


def documented(part: str) -> Named:
    return {
        name: (kind, set(labels.split(", ")) if labels else set())
        for name, labels, kind, where in _ROW.findall(PAGE.read_text(encoding="utf-8"))
        if where in (part, "both")
    }


def _exported(family: Metric) -> str:
    name = family.name.removeprefix(PREFIX)
    assert family.name == PREFIX + name
    return f"{name}_total" if family.type == "counter" else name


def _labels(family: Metric) -> set[str]:
    return {label for sample in family.samples for label in sample.labels} - {"le"}


def bridge() -> Named:
    registry = CollectorRegistry()
    # a run's gauge is there while the run has requests open
    BridgeMetrics(registry).gauges.bulk.show({"20260131-143005-3fa2": 1})
    return registered(registry)


def worker() -> Named:
    registry = CollectorRegistry()
    WorkerMetrics(registry)
    show_worker(registry, 4)
    return registered(registry)


def test_the_page_names_every_metric_with_its_kind_and_labels() -> None:
    assert {**documented("bridge"), **documented("worker")} == {**bridge(), **worker()}


def test_the_page_names_who_measures() -> None:
    # both register the counters of the Flink job, whoever counts
    for part, metrics in (("bridge", bridge()), ("worker", worker())):
        own = {name for name, (kind, _) in metrics.items() if kind != "counter"}
        named = documented(part)
        assert own == {name for name, (kind, _) in named.items() if kind != "counter"}
        assert named.items() <= metrics.items()


def test_the_page_names_every_reason_of_a_hold() -> None:
    (listed,) = _HOLDS.findall(PAGE.read_text(encoding="utf-8"))
    assert sorted(re.findall(r"`([a-z_]+)`", listed)) == sorted(hold.name.lower() for hold in Hold)
