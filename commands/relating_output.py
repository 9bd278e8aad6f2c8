"""What `relations` prints: a row a difference for people, everything as JSON for scripts."""

from collections.abc import Collection, Sequence

from rich.text import Text

from commands.course_drift import CourseDrift, State
from commands.terminal import console, table
from reconciliation.drift import Drift, DriftKind
from reconciliation.printing import some_of
from reconciliation.settings import Settings
from reconciliation.settings_relations import REDIS

_MOST_IDS = 5
_MOST_ROWS = 500


def as_document(found: Sequence[CourseDrift], asked: Collection[str]) -> dict[str, object]:
    """Give what `--json` prints."""
    return {
        "in_order": all(it.state is State.IN_ORDER for it in found),
        "courses": [
            {
                "course": it.course_id,
                "state": it.state.value,
                "source": it.source or None,
                "units": it.units,
                "contents": it.contents,
                "trouble": it.trouble or None,
                "healing_asked": it.course_id in asked,
                "differences": [
                    {
                        "kind": one.kind.value,
                        "key": str(one.name),
                        "node": one.name.node_id,
                        "set": one.name.relation,
                        "ids": list(one.ids),
                        "made_anew": one.is_remade,
                    }
                    for one in it.differences
                ],
            }
            for it in found
        ],
    }


def print_drift(settings: Settings, found: Sequence[CourseDrift], asked: Sequence[str]) -> None:
    """Print a table of what is not as it should be, and a line for all courses together."""
    out = console()
    rows = [row for it in found for row in _rows(settings, it)]
    if rows:
        out.print(table(["course", "what", "set", "ids", "next step"], rows[:_MOST_ROWS]))
    if len(rows) > _MOST_ROWS:
        out.print(Text(f"{len(rows) - _MOST_ROWS} more differences: --json has all"))
    counts = {state: sum(it.state is state for it in found) for state in State}
    told = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
    sources = sorted({it.source for it in found if it.source})
    where = f" with the sets in {' and '.join(sources)}" if sources else ""
    courses = "1 course was" if len(found) == 1 else f"{len(found)} courses were"
    out.print(Text(f"{courses} compared{where}: {told}"))
    if asked:
        sets = "1 course's sets" if len(asked) == 1 else f"the sets of {len(asked)} courses"
        out.print(Text(f"{sets} asked for on {settings.relation_healing_topic}: compare again in a minute"))


def _rows(settings: Settings, found: CourseDrift) -> list[tuple[str, str, str, str, str]]:
    if found.trouble:
        step = (
            "see whether lms-cassandra.content_hierarchy.keyspace and .table name the right table; publish the course"
        )
        return [(found.course_id, found.state.value, "", found.trouble, step)]
    return [
        (found.course_id, it.kind.value, f"{it.name.node_id}:{it.name.relation}", _ids(it), _step(settings, found, it))
        for it in found.differences
    ]


def _ids(difference: Drift) -> str:
    if difference.kind is DriftKind.MISSING_SET:
        return f"all {len(difference.ids)}"
    return some_of(difference.ids, _MOST_IDS)


def _step(settings: Settings, found: CourseDrift, difference: Drift) -> str:
    if difference.is_remade:
        return "publish the course again, or ask with --heal"
    if found.source == REDIS:
        return f"nobody removes it: delete this key in Redis database {settings.relation_cache_database}"
    return "nobody removes it: delete this row"
