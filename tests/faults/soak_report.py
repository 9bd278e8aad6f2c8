"""What a soak says in the end: a table of what was done and what must not have become of it."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.faults.load import Load
from tests.faults.mischief import Mischief
from tests.faults.site import Site
from tests.faults.verdict import Verdict
from tests.support.installation import Installation
from tests.support.kafka import Received
from tests.support.tables import Learner


@dataclass(frozen=True, slots=True)
class Result:
    """How a soak ended.

    `problem` says what did not happen in time, "" where everything did. Of the poison, `convicted` lie on the failed
    topic; `strangers` lie there and should not. Each load has its verdict.
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
    verdicts: tuple[Verdict, ...]
    problem: str

    @property
    def problems(self) -> list[str]:
        """What is wrong with the loads, and what did not happen in time."""
        found = [line for verdict in self.verdicts for line in verdict.problems]
        return [*found, self.problem] if self.problem else found

    @property
    def is_well(self) -> bool:
        """Whether everything that must hold does."""
        return not (self.problems or self.strangers or self.convicted != self.poison)

    def count(self, *names: str) -> int:
        """Count what all verdicts hold under these names."""
        return sum(len(getattr(verdict, name)) for verdict in self.verdicts for name in names)


def judge(
    site: Site, loads: Collection[Load], mischief: Mischief, poisonous: Collection[Learner], seed: int, problem: str
) -> Result:
    """Hold what a soak left behind against the oracle, and the failed topic against the poison."""
    dead = {str(record.event.get("edata", {}).get("userId")) for record in site.failed.records()}
    poison = {learner.user for learner in poisonous}
    return Result(
        seed=seed,
        requests=sum(load.sent for load in loads) + len(poison),
        kills=site.kills.total(),
        ended=mischief.ended,
        frozen=mischief.frozen,
        outages=mischief.outages.total(),
        restarts=site.restarts.total(),
        poison=len(poison),
        convicted=len(dead & poison),
        strangers=len(dead - poison),
        verdicts=tuple(load.verdict(site) for load in loads),
        problem=problem,
    )


def show(console: Console, result: Result) -> None:
    """Print the table, and beneath it what is wrong, if anything is."""
    learners, completions = (sum(getattr(it, name) for it in result.verdicts) for name in ("learners", "completions"))
    repeats = sum(count for verdict in result.verdicts for _, count in verdict.repeated)
    table = Table(box=box.SIMPLE_HEAD, title="The soak", title_justify="left")
    table.add_column("what")
    table.add_column("how many", justify="right")
    table.add_column("must be")
    for name, figure in (
        ("requests sent", f"{result.requests:,}"),
        ("learners", f"{learners:,}"),
        ("completed learners", f"{completions:,}"),
        ("processes killed", str(result.kills)),
        ("processes ended and started again", str(result.ended)),
        ("processes frozen", str(result.frozen)),
        ("outages of servers", str(result.outages)),
        ("processes that ended by themselves", str(result.restarts)),
    ):
        table.add_row(name, figure, "")
    for name, count, most in (
        ("lost", result.count("lost") + result.poison - result.convicted, 0),
        ("downgraded", result.count("downgraded"), 0),
        ("otherwise wrong rows and events", result.count("mismatched", "unexpected", "differing"), 0),
        ("dead-lettered", result.convicted + result.strangers, result.poison),
    ):
        is_well = count == most and not (name == "dead-lettered" and result.strangers)
        table.add_row(name, Text(str(count), "green" if is_well else "bold red"), str(most))
    table.add_row("repeated certificates", str(repeats), "")
    table.add_row("seed", str(result.seed), "")
    console.print(table)
    for line in result.problems:
        console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)


def write_evidence(site: Installation, loads: Collection[Load], file: Path) -> None:
    """Write down, for those whom something is wrong with, rows and events, and whatever the ledger still holds."""
    verdicts = [load.verdict(site) for load in loads]
    kinds = {it.learner: it.kind for load in loads for it in load.planned}
    rows = site.tables.all_enrolments()
    certificates, audits, failed = (topic.records() for topic in (site.certificates, site.audits, site.failed))

    def events(records: list[Received], user: str) -> list[str]:
        return [record.value.decode() for record in records if f'"{user}"'.encode() in record.value]

    evidence = {
        "problems": [line for verdict in verdicts for line in verdict.problems],
        "differing": [line for verdict in verdicts for line in verdict.differing],
        "open": site.open_count(),
        "leftovers": site.leftovers(),
        "learners": [
            {
                "learner": learner.ids,
                "kind": kinds[learner],
                "row": rows.get(learner),
                "written": site.tables.write_times(learner),
                "certificates": events(certificates, learner.user),
                "audits": events(audits, learner.user),
                "failed": events(failed, learner.user),
            }
            for learner in sorted({learner for verdict in verdicts for learner in verdict.wrong})
        ],
        "given up": [record.value.decode() for record in failed],
    }
    file.write_text(json.dumps(evidence, indent=1, default=str))
