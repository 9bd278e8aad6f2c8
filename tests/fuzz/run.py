"""A long run of made-up records through the bridge's sorting: `python -m tests.fuzz.run --count 1000000 --seed 7`.

Prints a table and ends with exit code 1 when any record did harm; `--only NUMBER` repeats one of them.
"""

import argparse
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field

from tests.fuzz.generator import make_record
from tests.fuzz.judge import judge

#: So many records that did harm are told of; then the run ends.
MOST_TOLD = 10


@dataclass(slots=True)
class Report:
    """What became of a run's records; `harmful` are the numbers of those that broke something."""

    endings: Counter[str] = field(default_factory=Counter)
    harmful: list[int] = field(default_factory=list)
    largest: int = 0
    slowest: tuple[float, int] = (0.0, 0)
    seconds: float = 0.0

    def told(self, seed: int) -> str:
        """Write the table."""
        rows = [(ending, f"{count:,}") for ending, count in sorted(self.endings.items())]
        slowest, number = self.slowest
        rows += [
            ("harmful", f"{len(self.harmful):,}"),
            ("largest value", f"{self.largest:,} bytes"),
            ("slowest record", f"{slowest * 1000:.0f} ms (number {number})"),
            ("all of them", f"{self.seconds:.0f} s"),
            ("seed", str(seed)),
        ]
        return "\n".join(f"{name:<16}{value:>24}" for name, value in rows)


def run(count: int, seed: int, first: int = 0) -> Report:
    """Judge `count` records from number `first` on; what breaks is told on standard error and counted."""
    report = Report()
    began = time.perf_counter()
    for number in range(first, first + count):
        record = make_record(seed, number)
        report.largest = max(report.largest, len(record.value or b""))
        start = time.perf_counter()
        try:
            report.endings[judge(record)] += 1
        except Exception:  # noqa: BLE001 - whatever comes out is what is looked for
            report.harmful.append(number)
            print(f"record {number} of seed {seed}: {str(record)[:400]}", file=sys.stderr)  # noqa: T201 - a command line
            traceback.print_exc()
            if len(report.harmful) >= MOST_TOLD:
                break
        report.slowest = max(report.slowest, (time.perf_counter() - start, number))
    report.seconds = time.perf_counter() - began
    return report


def main() -> int:
    """Run the command line; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="how many records (default 100000)")
    parser.add_argument("--seed", type=int, default=1, help="the number that all records are made from (default 1)")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="this record alone")
    asked = parser.parse_args()
    report = run(asked.count, asked.seed) if asked.only is None else run(1, asked.seed, asked.only)
    print(report.told(asked.seed))  # noqa: T201 - a command line
    return 1 if report.harmful else 0


if __name__ == "__main__":
    sys.exit(main())
