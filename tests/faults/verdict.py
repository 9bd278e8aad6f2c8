"""What a load left behind, held against the oracle (tests/oracle.py), which knows nothing of the product."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from tests import oracle
from tests.faults.plan import Planned
from tests.support.events import audit_learner, certificate_learner
from tests.support.installation import Installation
from tests.support.kafka import Received
from tests.support.tables import Learner, Row

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a load ended. All but the figures and `repeated` must be empty.

    Attributes:
        learners: how many learners the load has.
        completions: how many of them the oracle lets complete.
        certificates: how many certificate events lie on the topic for them.
        lost: learners whose enrolment is not as it must be, or whose completion was not announced by both events.
        downgraded: learners who were seen completed and are so no more, or with another completedon.
        repeated: learners with more than one certificate event, and how many more; they carry one mid, or are among
            the mismatched.
        mismatched: learners whose events carry several mids, or a completedon that is not their row's.
        unexpected: learners who were announced and must not have been.
        dead_lettered: learners on the failed topic, each with the failure's code.
        differing: cells and aggregates that are not as they must be, in words.

    """

    learners: int
    completions: int
    certificates: int
    lost: tuple[Learner, ...]
    downgraded: tuple[Learner, ...]
    repeated: tuple[tuple[Learner, int], ...]
    mismatched: tuple[Learner, ...]
    unexpected: tuple[Learner, ...]
    dead_lettered: tuple[tuple[Learner, str], ...]
    differing: tuple[str, ...]

    @property
    def problems(self) -> list[str]:
        """What must not be, a line for each kind of it; empty when all is well. Repeats under one mid are well."""
        lines = []
        for each in fields(self):
            found = getattr(self, each.name)
            if isinstance(found, tuple) and found and each.name != "repeated":
                lines.append(f"{len(found)} {each.name}: {', '.join(map(str, found[:_SHOWN]))}")
        return lines

    @property
    def wrong(self) -> set[Learner]:
        """Everybody whom something is wrong with that a row or an event shows."""
        given_up = {learner for learner, _ in self.dead_lettered}
        return {*self.lost, *self.downgraded, *self.mismatched, *self.unexpected, *given_up}

    def check(self) -> None:
        """Raise AssertionError unless all is well."""
        assert not self.problems, f"{self}:\n" + "\n".join(self.problems)

    def __str__(self) -> str:
        repeats = sum(count for _, count in self.repeated)
        return f"{self.learners} learners, {self.completions} completions, {repeats} certificates repeated"


class Sightings:
    """Every completion that was seen at any time; a completion is never taken back."""

    def __init__(self) -> None:
        self.completed_on: dict[Learner, int | None] = {}
        self.downgraded: set[Learner] = set()

    def add(self, rows: Mapping[Learner, Row]) -> None:
        """Hold the rows of one look against all earlier looks."""
        for learner, completed_on in self.completed_on.items():
            row = rows.get(learner, {})
            if row.get("status") != 2 or row.get("completedon") != completed_on:
                self.downgraded.add(learner)
        for learner, row in rows.items():
            if row["status"] == 2:
                self.completed_on.setdefault(learner, row["completedon"])


def judge(
    site: Installation,
    planned: Iterable[Planned],
    before: Mapping[Learner, Row],
    sightings: Sightings,
    began_ms: float,
) -> Verdict:
    """Read tables and topics, and hold them against the oracle.

    Args:
        site: where the load was sent.
        planned: its learners.
        before: their enrolments before the first request.
        sightings: the completions seen meanwhile.
        began_ms: when the first request was sent; no completion may be older, unless it stood there before.

    """
    everyone = {it.learner: oracle.expect(it.case) for it in planned}
    rows = site.tables.enrolments(everyone)
    sightings.add(rows)
    certificates = _by_learner(site.certificates.records(), certificate_learner, everyone)
    audits = _by_learner(site.audits.records(), audit_learner, everyone)
    completing = {learner for learner, expected in everyone.items() if expected["events"]}

    differing: list[str] = []
    lost = {learner for learner in completing if not (certificates.get(learner) and audits.get(learner))}
    for learner, expected in everyone.items():
        found = _row_differences(rows.get(learner), before.get(learner), expected, began_ms)
        if found:
            lost.add(learner)
            differing.append(f"{learner}: {found}")
    counts = site.tables.counts_of({learner: expected["aggregates"] for learner, expected in everyone.items()})
    differing += _aggregate_differences(counts, everyone)

    return Verdict(
        learners=len(everyone),
        completions=len(completing),
        certificates=sum(map(len, certificates.values())),
        lost=tuple(sorted(lost)),
        downgraded=tuple(sorted(sightings.downgraded)),
        repeated=tuple(sorted((who, len(events) - 1) for who, events in certificates.items() if len(events) > 1)),
        mismatched=tuple(
            sorted(
                learner
                for learner in {*certificates, *audits}
                if not _agree(certificates.get(learner, []), audits.get(learner, []), rows.get(learner))
            )
        ),
        unexpected=tuple(sorted({*certificates, *audits} - completing)),
        dead_lettered=_dead_lettered(site.failed.records(), everyone),
        differing=tuple(differing),
    )


def _by_learner(
    records: Iterable[Received], learner_of: Callable[[Received], Learner], everyone: Mapping[Learner, object]
) -> dict[Learner, list[dict[str, Any]]]:
    found: dict[Learner, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        learner = learner_of(record)
        if learner in everyone:
            found[learner].append(record.event)
    return dict(found)


def _agree(certificates: list[dict[str, Any]], audits: list[dict[str, Any]], row: Row | None) -> bool:
    mids = {event["mid"] for event in certificates}
    told = {mid.split(".")[1] for mid in mids}
    completed_on = None if row is None else str(row["completedon"])
    return len(mids) <= 1 and len({event["mid"] for event in audits}) <= 1 and told <= {completed_on}


def _row_differences(row: Row | None, before: Row | None, expected: oracle.Expected, began_ms: float) -> str:
    if row is None or before is None or not expected["enrolment_written"]:
        return "" if row == before else f"is {row}, was {before}"
    wanted = {**before, **expected["enrolment"]}
    for name in ("datetime", "completedon"):
        is_new = name == "datetime" or wanted[name] == oracle.NOW
        moment = row[name]
        if is_new and isinstance(moment, int) and began_ms - 1 <= moment <= time.time() * 1000 + 1:
            wanted[name] = moment
    return ", ".join(f"{name} is {row[name]}, not {value}" for name, value in wanted.items() if row[name] != value)


def _aggregate_differences(
    counts: Mapping[tuple[str, str, str], float], everyone: Mapping[Learner, oracle.Expected]
) -> list[str]:
    differing = []
    for learner, expected in everyone.items():
        for activity, count in expected["aggregates"].items():
            found = counts.get((activity, learner.user, learner.batch))
            if found != count:
                differing.append(f"{learner}: {activity} counts {found}, not {count}")
    return differing


def _dead_lettered(records: Iterable[Received], everyone: Mapping[Learner, object]) -> tuple[tuple[Learner, str], ...]:
    found = set()
    for record in records:
        event = record.event
        edata = event.get("edata", {})
        learner = Learner(*(str(edata.get(name)) for name in ("userId", "courseId", "batchId")))
        if learner in everyone:
            found.add((learner, str(event["failInfo"]["errorCode"])))
    return tuple(sorted(found))
