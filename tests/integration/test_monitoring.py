"""Dashboard and alerts are held against what a bridge and a worker serve, after requests that ended in every way."""

import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families

from devstack.ports import HOST
from tests.integration.conftest import MakeInstallation
from tests.support.installation import Installation, new_learner
from tests.support.monitoring import expressions
from tests.support.promql import read
from tests.support.relations import course_of_units

#: What Prometheus adds to every sample that it scrapes.
ADDED_LABELS = {"job", "instance"}

#: Every name that is served, with the labels that its samples have.
Served = Mapping[str, frozenset[str]]


@pytest.fixture(scope="module")
def installation(make_installation: MakeInstallation) -> Iterator[Installation]:
    settings = {"RETRY_ATTEMPTS": "2", "RETRY_BACKOFF_FIRST": "0.1", "LEDGER_SWEEP_INTERVAL": "0.1"}
    with make_installation(settings) as made:
        yield made.start()


@pytest.fixture(scope="module")
def served(installation: Installation) -> Served:
    """What both processes serve after one request was completed, and one tried again and given up."""
    done, lost = new_learner(), new_learner()
    installation.relations.fill(course_of_units(done.course, {"unit": {"a"}}))
    installation.tables.add_consumption({done: {"a": 2}, lost: {"a": 2}})
    installation.tables.add_enrolments([done, lost])
    installation.sync(done, lost)
    labels: dict[str, set[str]] = defaultdict(set)
    for port in installation.metrics_ports.values():
        with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=10) as answer:
            for family in text_string_to_metric_families(answer.read().decode()):
                for sample in family.samples:
                    labels[sample.name] |= set(sample.labels)
    return {name: frozenset(names) for name, names in labels.items()}


@pytest.mark.parametrize("where", expressions())
def test_every_metric_is_served(served: Served, where: str) -> None:
    assert sorted(name for name in read(expressions()[where]).metrics if name not in served) == []


@pytest.mark.parametrize("where", expressions())
def test_every_label_is_served(served: Served, where: str) -> None:
    used = read(expressions()[where])
    missing = [
        f"{name}{{{label}}}" for name, label in used.labels if label not in ADDED_LABELS | served.get(name, frozenset())
    ]
    # what a grouping or a join names must be a label of some metric in it
    of_any = ADDED_LABELS.union(*(served.get(name, frozenset()) for name in used.metrics))
    assert [*missing, *sorted(used.listed - of_any)] == []
