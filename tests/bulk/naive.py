"""Which enrolments are stuck and why, worked out once more and naively, from the tests' oracle alone.

A case is the oracle's, with what stands in the tables beside it: `progress` and `contentstatus` in its enrolment, and
`counts`, the completedCount of each activity that has a row with one.
"""

from random import Random
from typing import Any

from tests.oracle import Case, _done, _needed, expect, make_case

#: What the reasons are called (bulk/model.py).
NOT_COMPLETED = "requirement met, not completed"
NO_COMPLETED_ON = "completed, no completedon"
PROGRESS = "progress differs"
AGGREGATES = "aggregates differ"


def stuck_case(random: Random, number: int, switches: dict[str, bool] | None = None) -> Case:
    """Make a case with an enrolment, near to what it should be or with a cell or two that are not.

    `switches` are those of all cases, drawn unless they are given.
    """
    case = make_case(random, number)
    while case["enrolment"] is None:
        case = make_case(random, number)
    case["switches"] = switches or case["switches"]
    expected = expect(case)
    row = case["enrolment"]
    row["progress"] = (expected["enrolment"] or {}).get("progress", random.choice([None, 0, 3]))
    row["contentstatus"] = dict((expected["enrolment"] or {}).get("contentstatus", {})) or None
    case["counts"] = dict(expected["aggregates"])
    if random.random() < 0.4:
        # as after a reconciliation
        row["status"] = (expected["enrolment"] or row)["status"]
        row["completedon"] = row["completedon"] or (1_650_000_000_000 if row["status"] == 2 else None)
    if row["status"] == 2 and random.random() < 0.3:
        row["completedon"] = None
    for _ in range(random.choice([0, 0, 0, 1, 2])):
        _spoil(random, case)
    return case


def _spoil(random: Random, case: Case) -> None:
    row, counts = case["enrolment"], case["counts"]
    match random.choice(["progress", "contentstatus", "count", "no count", "foreign count", "status"]):
        case "progress":
            row["progress"] = random.choice([None, 0, 1, 99])
        case "contentstatus":
            row["contentstatus"] = {**(row["contentstatus"] or {}), "do_gone": 2}
        case "count" if counts:
            counts[random.choice(sorted(counts))] += 1.0
        case "no count" if counts:
            counts.pop(random.choice(sorted(counts)))
        case "foreign count":
            counts["do_another_course"] = 3.0
        case "status":
            row["status"] = random.choice([None, 0, 1, 2])
        case _:
            pass


def reasons(case: Case) -> set[str] | None:
    """Say why a scan has to choose this case; empty where it must not, None where nobody can say."""
    expected = expect(case)
    if expected["fails"]:
        return None
    row: dict[str, Any] = case["enrolment"]
    found = set()
    if expected["enrolment_written"]:
        after = expected["enrolment"]
        if after["status"] == 2 and row["status"] != 2:
            found.add(NOT_COMPLETED)
        elif after["completedon"] != row["completedon"]:
            found.add(NO_COMPLETED_ON)
        if after["status"] != 2 and row["status"] != after["status"]:
            found.add(PROGRESS)
        if row["progress"] != after["progress"] or (row["contentstatus"] or {}) != after["contentstatus"]:
            found.add(PROGRESS)
    elif row["status"] == 2 and row["completedon"] is None and _is_complete(case):
        found |= _of_repair(case, row)
    for activity, count in expected["aggregates"].items():
        if case["counts"].get(activity) != count:
            found.add(AGGREGATES)
    return found


def _of_repair(case: Case, row: dict[str, Any]) -> set[str]:
    """Say why a completion without its time is chosen: a repair writes the whole completion."""
    statuses = {it["contentid"]: 1 if it["status"] is None else it["status"] for it in case["consumption"]}
    count = _done(_needed(case, case["course"]) or set(), statuses)
    is_right = row["progress"] == count and (row["contentstatus"] or {}) == statuses
    return {NO_COMPLETED_ON} if is_right else {NO_COMPLETED_ON, PROGRESS}


def _is_complete(case: Case) -> bool:
    needed = _needed(case, case["course"])
    statuses = {it["contentid"]: it["status"] for it in case["consumption"]}
    return bool(statuses) and needed is not None and _done(needed, statuses) == len(needed)
