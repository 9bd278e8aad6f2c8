"""What a soak says in the end: a table of what was done and what must not have become of it."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.faults.load import Load
from tests.faults.mischief import Mischief
from tests.faults.site import Site
from tests.faults.verdict import Verdict
from tests.support.installation import Installation
from tests.support.tables import Learner


@dataclass(frozen=True, slots=True)
class Result:
    """How a soak ended.

    `problem` says what did not happen in time, "" where everything did. Of the poison, `convicted` lie on the failed
    topic; `strangers` lie there and should not.
    """

    seed: int
    requests: int
    kills: int
    ended: int
    frozen: int
    outages: int
    restarts: int
    poison: int
    convicted: int
    strangers: int
    verdict: Verdict
    problem: str

    @property
    def is_well(self) -> bool:
        """Whether everything that must hold does."""
        return not (self.problem or self.verdict.problems or self.strangers or self.convicted != self.poison)


def judge(
    site: Site, load: Load, mischief: Mischief, poisonous: Collection[Learner], seed: int, problem: str
) -> Result:
    """Hold what a soak left behind against the oracle, and the failed topic against the poison."""
    dead = {str(record.event.get("edata", {}).get("userId")) for record in site.failed.records()}
    poison = {learner.user for learner in poisonous}
    return Result(
        seed=seed,
        requests=load.sent + len(poison),
        kills=site.kills.total(),
        ended=mischief.ended,
        frozen=mischief.frozen,
        outages=mischief.outages.total(),
        restarts=site.restarts.total(),
        poison=len(poison),
        convicted=len(dead & poison),
        strangers=len(dead - poison),
        verdict=load.verdict(site),
        problem=problem,
    )


def show(console: Console, result: Result) -> None:
    """Print the table, and beneath it what is wrong, if anything is."""
    verdict = result.verdict
    missing = result.poison - result.convicted
    differing = len(verdict.mismatched) + len(verdict.unexpected) + len(verdict.differing)
    table = Table(box=box.SIMPLE_HEAD, title="The soak", title_justify="left")
    table.add_column("what")
    table.add_column("how many", justify="right")
    table.add_column("must be")
    for name, figure in (
        ("requests sent", f"{result.requests:,}"),
        ("learners", f"{verdict.learners:,}"),
        ("completed learners", f"{verdict.completions:,}"),
        ("processes killed", str(result.kills)),
        ("processes ended and started again", str(result.ended)),
        ("processes frozen", str(result.frozen)),
        ("outages of servers", str(result.outages)),
        ("processes that ended by themselves", str(result.restarts)),
    ):
        table.add_row(name, figure, "")
    for name, count, most in (
        ("lost", len(verdict.lost) + missing, 0),
        ("downgraded", len(verdict.downgraded), 0),
        ("otherwise wrong rows and events", differing, 0),
        ("dead-lettered", result.convicted + result.strangers, result.poison),
    ):
        is_well = count == most and not (name == "dead-lettered" and result.strangers)
        table.add_row(name, Text(str(count), "green" if is_well else "bold red"), str(most))
    table.add_row("repeated certificates", str(sum(count for _, count in verdict.repeated)), "")
    table.add_row("seed", str(result.seed), "")
    console.print(table)
    for line in [*verdict.problems, *([result.problem] if result.problem else [])]:
        console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)


def write_evidence(site: Installation, load: Load, file: Path) -> None:
    """Write down, for those whom something is wrong with, rows and events, and whatever the ledger still holds."""
    verdict = load.verdict(site)
    wrong = {*verdict.lost, *verdict.downgraded, *verdict.mismatched, *verdict.unexpected}
    wrong |= {learner for learner, _ in verdict.dead_lettered}
    rows = site.tables.all_enrolments()
    certificates, audits, failed = (topic.records() for topic in (site.certificates, site.audits, site.failed))
    kinds = {it.learner: it.kind for it in load.planned}

    def events(records: list[Any], user: str) -> list[str]:
        return [record.value.decode() for record in records if user.encode() in record.value]

    evidence = {
        "problems": verdict.problems,
        "differing": verdict.differing,
        "open": site.open_count(),
        "leftovers": site.leftovers(),
        "learners": {
            learner.user: {
                "learner": learner.ids,
                "kind": kinds.get(learner),
                "row": rows.get(learner),
                "written": site.tables.write_times(learner),
                "certificates": events(certificates, learner.user),
                "audits": events(audits, learner.user),
                "failed": events(failed, learner.user),
            }
            for learner in sorted(wrong)
        },
        "given up": [record.value.decode() for record in failed],
    }
    file.write_text(json.dumps(evidence, indent=1, default=str))
