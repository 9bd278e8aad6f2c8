"""Shadow mode beside another job: what differs is found and told, and nothing is written or sent (docs/shadow.md)."""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from devstack.ports import Ports
from devstack.schema import AggregateLayout
from tests.conftest import MakeEnvironment, MakeKeyspace
from tests.support.checks import check_announced_once
from tests.support.installation import Installation, new_learner
from tests.support.kafka import TopicEnds, _asking
from tests.support.relations import CourseTree, course_of_units
from tests.support.tables import Learner
from tests.support.waiting import wait_until

DELAY_SECONDS = 4.0
LONG_AGO = datetime(2023, 5, 9, tzinfo=UTC)
SETTINGS = {
    "SHADOW_ENABLED": "true",
    "SHADOW_DELAY": str(DELAY_SECONDS),
    "RETRY_ATTEMPTS": "2",
    "RETRY_BACKOFF_FIRST": "0.1",
    "LEDGER_SWEEP_INTERVAL": "0.1",
}
DONE = {"a": 2, "b": 2}
HALFWAY = {"a": 2, "b": 1}


@pytest.fixture(scope="module")
def shadow(
    ports: Ports, make_environment: MakeEnvironment, make_keyspace: MakeKeyspace, logs: Path
) -> Iterator[Installation]:
    """A shadow alone on its topics; the test writes what the other job would."""
    keyspace = make_keyspace(AggregateLayout.USER_IN_PARTITION)
    with Installation(ports, make_environment(), keyspace, logs, SETTINGS) as made:
        made.start()
        _warm_up(made)
        yield made


def _warm_up(installation: Installation) -> None:
    """Wait until the worker works: what it takes to start is not what requests wait for."""
    installation.sync(new_learner())


def _report(installation: Installation, *arguments: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(installation.operate("shadow", "--json", *arguments))
    return document


def _kinds(report: Mapping[str, Any]) -> dict[str, int]:
    return {kind: count for kind, count in report["kinds"].items() if count}


def _topic_ends(installation: Installation) -> dict[str, dict[int, int]]:
    topics = (installation.failed_topic, installation.audit_topic, installation.certificate_topic)
    return {topic: TopicEnds(_asking(installation.ports.bootstrap, "ends"), topic).now() for topic in topics}


@dataclass(frozen=True)
class _Rows:
    """Everything that stands in the tables for one learner, with the times of its writing."""

    enrolment: Any
    written: Any
    aggregates: Any
    consumption: Any


def _rows(installation: Installation, learner: Learner) -> _Rows:
    tables = installation.tables
    enrolment = tables.enrolment(learner)
    return _Rows(
        enrolment,
        enrolment and tables.write_times(learner),
        tables.aggregates(learner),
        tables.consumption(learner),
    )


def _answered(
    installation: Installation,
    consumption: Mapping[str, int],
    counts: Mapping[str, float],
    *,
    optional: bool = False,
    **cells: object,
) -> Learner:
    """Make a learner of a course with two required contents, and rows as another job left them."""
    learner = new_learner()
    members = {"a", "b", "x"} if optional else {"a", "b"}
    tree = course_of_units(learner.course, {f"unit-of-{learner.course}": members})
    optional_nodes = {node: {"x"} for node in tree.leaf_nodes} if optional else {}
    installation.relations.fill(CourseTree(learner.course, tree.leaf_nodes, optional_nodes, tree.ancestors))
    installation.tables.add_consumption({learner: consumption})
    installation.tables.add_enrolments([learner], **cells)
    for node, count in counts.items():
        activity = {"course": learner.course, "unit": f"unit-of-{learner.course}"}[node]
        installation.tables.add_aggregates(learner, activity, {"completedCount": count, "score:q": 3.0})
    return learner


def _now() -> datetime:
    return datetime.now(UTC)


def test_differences_of_each_kind_are_found_exactly_and_nothing_is_written(shadow: Installation) -> None:
    two = {"course": 2.0, "unit": 2.0}
    one = {"course": 1.0, "unit": 1.0}
    good = {"status": 1, "progress": 1, "contentstatus": HALFWAY}
    done = {"status": 2, "progress": 2, "contentstatus": DONE, "completedon": _now()}
    planted = {
        "agrees halfway": (_answered(shadow, HALFWAY, one, **good), []),
        "agrees completed": (_answered(shadow, DONE, two, **done), []),
        "completed": (
            _answered(shadow, HALFWAY, one, **{**good, "status": 2, "completedon": LONG_AGO}),
            ["completed-though-incomplete"],
        ),
        "stuck": (
            _answered(shadow, DONE, two, **{**done, "status": 1, "completedon": None}),
            ["incomplete-though-complete"],
        ),
        "no date": (_answered(shadow, DONE, two, **{**done, "completedon": None}), ["completion-without-completedon"]),
        "status": (_answered(shadow, HALFWAY, one, **{**good, "status": 0}), ["status"]),
        "progress": (_answered(shadow, HALFWAY, one, **{**good, "progress": 4}), ["progress"]),
        "contents": (_answered(shadow, HALFWAY, one, **{**good, "contentstatus": {"a": 2}}), ["contentstatus"]),
        "course": (_answered(shadow, HALFWAY, {**one, "course": 2.0}, **good), ["course-aggregate"]),
        "unit": (_answered(shadow, HALFWAY, {"course": 1.0}, **good), ["unit-aggregate"]),
        "optional": (
            _answered(shadow, DONE, two, optional=True, **{**done, "status": 1, "completedon": None}),
            ["optional-nodes"],
        ),
        "left": (
            _answered(shadow, DONE, two, **{**done, "progress": 1, "completedon": LONG_AGO}),
            ["left-as-completed"],
        ),
        "missing": (_answered(shadow, HALFWAY, one, **good), ["relations-missing"]),
    }
    learners = [learner for learner, _ in planted.values()]
    shadow.operate("shadow", "--clear")
    shadow.wait_counted()
    compared_before = shadow.metrics("worker")["shadow_compared_count_total"]
    missing = planted["missing"][0]
    shadow.relations.remove(missing.course, missing.course, "leafnodes")
    rows = {learner: _rows(shadow, learner) for learner in learners}
    ends = _topic_ends(shadow)

    shadow.send_records([(b"k", b"no request"), (b"k", b'{"edata": {"action": "user-enrolment-sync"}}')])
    sent = dict(zip(learners, shadow.send(*learners), strict=True))
    shadow.wait_settled()

    report = _report(shadow, "--limit", "1000")
    found = {learner: [] for learner in learners}
    for difference in report["differences"]:
        key = Learner(difference["user_id"], difference["course_id"], difference["batch_id"])
        found[key].append(difference["kind"])
        # the other job has had its turn
        assert difference["at_ms"] >= sent[key].timestamp_ms + 1000 * DELAY_SECONDS
    assert found == dict(planted.values())
    assert _kinds(report) == Counter(kind for _, kinds in planted.values() for kind in kinds)
    assert {name: report[name] for name in ("compared", "agreed", "differing", "moved_on", "invalid")} == {
        "compared": 12,
        "agreed": 2,
        "differing": 10,
        "moved_on": 0,
        "invalid": 2,
    }
    # nothing was written, nothing was sent
    assert {learner: _rows(shadow, learner) for learner in learners} == rows
    assert _topic_ends(shadow) == ends
    shadow.wait_counted()
    worker = shadow.metrics("worker")
    assert worker["db_update_count_total"] == 0
    assert worker["shadow_compared_count_total"] == compared_before + 12
    assert worker["failed_events_count_total"] == 0
    assert shadow.metrics("bridge")["shadow_invalid_records_count_total"] == 2
    assert shadow.metrics("bridge")["failed_events_count_total"] == 0
    # the log tells of shadow mode once a process, and of differences without the learner
    for process in shadow.processes:
        assert process.output().count("shadow mode (shadow.enabled)") == 1
    told = [line for line in shadow.worker.output().splitlines() if "the tables differ" in line]
    assert len(told) == 11
    assert not any(learner.user in line for line in told for learner in learners)
    assert all(any(learner.course in line for line in told) for learner, kinds in planted.values() if kinds)


def test_the_report_is_filtered_limited_and_cleared(shadow: Installation) -> None:
    shadow.operate("shadow", "--clear")
    learner = _answered(shadow, DONE, {"course": 1.0}, status=1, progress=2, contentstatus=DONE)
    shadow.sync(learner)

    assert _kinds(_report(shadow)) == {
        "incomplete-though-complete": 1,
        "course-aggregate": 1,
        "unit-aggregate": 1,
    }
    assert len(_report(shadow, "--limit", "2")["differences"]) == 2
    (only,) = _report(shadow, "--kind", "unit-aggregate")["differences"]
    assert (only["expected"], only["found"], only["activity_id"]) == ("2.0", "none", f"unit-of-{learner.course}")
    text = shadow.operate("shadow")
    assert "1 requests were compared: 0 agree, 1 differ" in text
    assert "by our count nothing required is open" in text
    assert learner.user in text
    assert "Shadow mode is off" not in text
    # the same report is read where shadow mode is off, and says so
    off = shadow.run_command("shadow", settings={"SHADOW_ENABLED": "false"})
    assert off.returncode == 0
    assert "Shadow mode is off here" in off.stdout
    assert learner.user in off.stdout

    assert "begins anew" in shadow.operate("shadow", "--clear")
    assert "nothing to do" in shadow.operate("shadow", "--clear")
    assert "Nothing has been compared" in shadow.operate("shadow")
    assert _report(shadow)["since_ms"] is None


def test_a_learner_who_went_on_after_the_request_says_nothing(shadow: Installation) -> None:
    shadow.operate("shadow", "--clear")
    learner = _answered(shadow, HALFWAY, {"course": 1.0, "unit": 1.0}, status=1, progress=1, contentstatus=HALFWAY)
    shadow.worker.freeze()
    try:
        (sent,) = shadow.send(learner)
        wait_until("a later moment", lambda: time.time() * 1000 > sent.timestamp_ms + 1)
        shadow.tables.add_consumption({learner: {"b": 2}})
    finally:
        shadow.worker.thaw()
    shadow.wait_settled()
    report = _report(shadow)
    assert (report["compared"], report["moved_on"], report["differences"]) == (1, 1, [])


def test_waiting_for_its_time_spends_nothing_and_warns_of_nothing(shadow: Installation) -> None:
    learner = _answered(shadow, HALFWAY, {"course": 1.0, "unit": 1.0}, status=1, progress=1, contentstatus=HALFWAY)
    shadow.send(learner)

    def put_off() -> list[tuple[str | None, tuple[int, int]]]:
        if not shadow.behind() and shadow.open_count() == 0:
            # on a busy machine it was old enough at its first look, or came and went between two of ours
            shadow.send(learner)
        # in this order: what is spent has its reason by then
        spent, reasons = shadow.spent(), shadow.entry_fields("reason")
        return [it for it in zip(reasons, spent, strict=False) if it[1][1]]

    seen = wait_until("a request that is put off", put_off)
    assert seen == [("PUT_OFF: too young to be compared (shadow.delay)", (0, 1))]
    shadow.wait_settled()
    assert "PUT_OFF" not in shadow.worker.output()


@pytest.fixture
def pair(
    ports: Ports, make_environment: MakeEnvironment, make_keyspace: MakeKeyspace, logs: Path
) -> Iterator[tuple[Installation, Installation]]:
    """A live installation and a shadow on the same topics, tables and Redis."""
    environment, keyspace = make_environment(), make_keyspace(AggregateLayout.USER_IN_CLUSTERING)
    with (
        Installation(ports, environment, keyspace, logs) as live,
        Installation(ports, environment, keyspace, logs / "shadow", {**SETTINGS, "SHADOW_DELAY": "10"}) as shadow,
    ):
        live.start()
        shadow.start()
        _warm_up(live)
        shadow.wait_settled()
        yield live, shadow


def test_a_live_installation_beside_it_agrees_and_is_undisturbed(pair: tuple[Installation, Installation]) -> None:
    live, shadow = pair
    halfway, stuck, completed = new_learner(), new_learner(), new_learner()
    for learner, contents in ((halfway, HALFWAY), (stuck, DONE), (completed, DONE)):
        live.relations.fill(course_of_units(learner.course, {f"unit-of-{learner.course}": {"a", "b"}}))
        live.tables.add_consumption({learner: contents})
    live.tables.add_enrolments([halfway, stuck])
    live.tables.add_enrolments([completed], status=2, completedon=LONG_AGO, progress=2, contentstatus=DONE)

    # however long the live one takes, the shadow comes after it
    shadow.worker.freeze()
    try:
        live.send(halfway, stuck, completed)
        live.wait_settled()
    finally:
        shadow.worker.thaw()
    rows = {learner: _rows(live, learner) for learner in (halfway, stuck, completed)}
    ends = _topic_ends(live)
    shadow.wait_settled()

    report = _report(shadow)
    assert (report["compared"], report["agreed"], report["differing"]) == (4, 4, 0)
    assert "No difference was found." in shadow.operate("shadow")
    # each of them read the topic in a group of its own
    assert live.committed() == shadow.committed()
    check_announced_once(live, stuck)
    assert live.announced(halfway).certificates == live.announced(completed).certificates == []
    assert {learner: _rows(live, learner) for learner in rows} == rows
    assert _topic_ends(live) == ends
    live.wait_counted()
    assert live.metrics("worker")["success_events_count_total"] == 4
    assert live.metrics("worker")["shadow_compared_count_total"] == 0
