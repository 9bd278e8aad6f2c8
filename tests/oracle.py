"""What a reconciliation must leave behind, worked out once more and naively: the tests' second opinion.

Written from the description of the steps (docs/reconciliation.md) in plain dicts and loops. It imports nothing of the
product on purpose: a mistake there must not be made here too.

A case is a dict:

- `user`, `course`, `batch`: ids
- `consumption`: rows `{"contentid": …, "status": 0 | 1 | 2 | … | None}`
- `enrolment`: None, or `{"status": … | None, "completedon": milliseconds | None}`
- `relations`: the relation cache's keys with their sets, `"course:node:leafnodes"` and so on
- `switches`: `module_aggregates`, `filter_processed`, `optional_nodes` (booleans)
- `course_status`: what the search service would say, `"Live"`, `"Unlisted"`, `"Retired"` or None (not found)
"""

from random import Random
from typing import Any

Case = dict[str, Any]
Expected = dict[str, Any]

#: Stands for the time of the run, where a row or an event carries it.
NOW = "now"


def expect(case: Case) -> Expected:
    """Work out one case, for a request that is tried for the first time.

    Gives a dict:

    - `fails`: True where the request must fail since the course's leaf nodes are missing; nothing else holds then
    - `aggregates`: the completedCount of each activity id that has a row afterwards
    - `enrolment`: the cells of the row afterwards (`status`, `completedon`; `progress` and `contentstatus` where they
      are written), None where there is no row; `completedon` may be NOW
    - `enrolment_written`: whether the row is written
    - `events`: one dict for each event, with `kind` "certificate" or "audit" and `completedon`
    """
    row = case["enrolment"]
    expected: Expected = {
        "fails": False,
        "aggregates": {},
        "enrolment": None if row is None else dict(row),
        "enrolment_written": False,
        "events": [],
    }
    statuses = {}
    for consumed in case["consumption"]:
        statuses[consumed["contentid"]] = 1 if consumed["status"] is None else consumed["status"]
    if not statuses:
        return expected

    if case["switches"]["module_aggregates"]:
        for unit in _units(case, statuses):
            needed = _needed(case, unit)
            expected["aggregates"][unit] = 0.0 if needed is None else float(_done(needed, statuses))

    needed = _needed(case, case["course"])
    if needed is None:
        expected["fails"] = case["course_status"] != "Retired"
        return expected
    done = _done(needed, statuses)
    expected["aggregates"][case["course"]] = float(done)

    if case["switches"]["filter_processed"] and (row is None or row["status"] == 2):
        return expected
    before = row or {"status": None, "completedon": None}
    complete = done == len(needed)
    keeps = not case["switches"]["filter_processed"] and before["completedon"] is not None
    expected["enrolment_written"] = True
    expected["enrolment"] = {
        "status": 2 if complete else 1,
        "progress": done,
        "contentstatus": statuses,
        "completedon": NOW if complete and not keeps else before["completedon"],
    }
    if complete:
        for kind in ("certificate", "audit"):
            expected["events"].append({"kind": kind, "completedon": expected["enrolment"]["completedon"]})
    return expected


def _units(case: Case, statuses: dict[str, int]) -> list[str]:
    units: list[str] = []
    for content in statuses:
        for ancestor in case["relations"].get(f"{case['course']}:{content}:ancestors", ()):
            if ancestor != case["course"] and ancestor not in units:
                units.append(ancestor)
    return units


def _needed(case: Case, node: str) -> list[str] | None:
    leaves = case["relations"].get(f"{case['course']}:{node}:leafnodes")
    if leaves is None:
        return None
    optional: set[str] = set()
    if case["switches"]["optional_nodes"]:
        optional = case["relations"].get(f"{case['course']}:{node}:optionalnodes", set())
    return [leaf for leaf in leaves if leaf not in optional]


def _done(needed: list[str], statuses: dict[str, int]) -> int:
    done = 0
    for content in needed:
        if statuses.get(content) == 2:
            done += 1
    return done


def make_course(random: Random, course: str) -> dict[str, set[str]]:
    """Make a course's relation sets: nested units, contents in several places, optional ones, and sets that are stale.

    Stale are: optional nodes that are no leaf nodes (their flag or their content was removed), ancestors of contents
    that the course no longer holds, units without leaf nodes and contents without ancestors.
    """
    units = [f"{course}_unit{number}" for number in range(random.randint(0, 5))]
    parents = {unit: random.choice([course, *units[:place]]) for place, unit in enumerate(units)}
    contents = [f"{course}_content{number}" for number in range(random.randint(1, 9))]
    relations: dict[str, set[str]] = {}
    for content in contents:
        for place in random.sample([course, *units], random.choice([1, 1, 2]) if units else 1):
            node = place
            while node != course:
                _add(relations, f"{course}:{node}:leafnodes", content)
                _add(relations, f"{course}:{content}:ancestors", node)
                node = parents[node]
            _add(relations, f"{course}:{course}:leafnodes", content)
            _add(relations, f"{course}:{content}:ancestors", course)
    for content in contents:
        if random.random() < 0.2:
            for node in relations[f"{course}:{content}:ancestors"]:
                _add(relations, f"{course}:{node}:optionalnodes", content)
    _make_stale(random, course, units, contents, relations)
    return relations


def _make_stale(
    random: Random, course: str, units: list[str], contents: list[str], relations: dict[str, set[str]]
) -> None:
    removed = f"{course}_removed"
    if random.random() < 0.3:
        _add(relations, f"{course}:{course}:optionalnodes", removed)
    if random.random() < 0.3:
        relations[f"{course}:{removed}:ancestors"] = {course, f"{course}_removed_unit"}
    if units and random.random() < 0.2:
        relations.pop(f"{course}:{random.choice(units)}:leafnodes", None)
    if random.random() < 0.2:
        relations.pop(f"{course}:{random.choice(contents)}:ancestors", None)


def make_case(random: Random, number: int) -> Case:
    """Make one case; the same seed gives the same cases. Ids carry `number`, so that cases can share one database."""
    course = f"do_course{number}"
    relations = make_course(random, course)
    contents = sorted({key.split(":")[1] for key in relations if key.endswith(":ancestors")})
    if random.random() < 0.1:
        relations.pop(f"{course}:{course}:leafnodes", None)
    return {
        "user": f"user{number}",
        "course": course,
        "batch": f"batch{number}",
        "consumption": _make_consumption(random, [*contents, f"{course}_foreign"]),
        "enrolment": _make_enrolment(random),
        "relations": relations,
        "switches": {
            "module_aggregates": random.random() < 0.8,
            "filter_processed": random.random() < 0.6,
            "optional_nodes": random.random() < 0.7,
        },
        "course_status": random.choice(["Live", "Unlisted", "Retired", None]),
    }


def _make_consumption(random: Random, contents: list[str]) -> list[dict[str, Any]]:
    diligent = random.random() < 0.5
    rows = []
    for content in contents:
        if diligent or random.random() < 0.5:
            status = 2 if diligent and random.random() < 0.9 else random.choice([None, 0, 1, 2, 3])
            rows.append({"contentid": content, "status": status})
    random.shuffle(rows)
    return rows if random.random() < 0.95 else []


def _make_enrolment(random: Random) -> dict[str, Any] | None:
    if random.random() < 0.15:
        return None
    status = random.choice([None, 0, 1, 1, 1, 2])
    was_complete = status == 2 or random.random() < 0.1
    completed_on = random.randrange(1_600_000_000_000, 1_700_000_000_000) if was_complete else None
    return {"status": status, "completedon": completed_on}


def _add(relations: dict[str, set[str]], key: str, member: str) -> None:
    relations.setdefault(key, set()).add(member)
