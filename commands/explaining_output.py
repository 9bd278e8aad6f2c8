"""How an explanation is shown: sentences and tables for people, one document for scripts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

import click

from commands.terminal import console, printable, table
from reconciliation.comparison import Cell, CellValue
from reconciliation.explanation import AggregateLine, ContentLine, Explanation, Role
from reconciliation.explanation_facts import Facts
from reconciliation.explanation_verdict import moment, number
from reconciliation.model import COMPLETED, IN_PROGRESS

#: A table of contents is cut behind so many lines; `--json` has them all.
_MOST_LINES = 500
_MOST_CELL_CHARACTERS = 400


def as_document(explained: Explanation, sentences: Sequence[str], facts: Facts) -> dict[str, object]:
    """Give everything as JSON's values; times are milliseconds since 1970."""
    document = _plain(asdict(explained))
    assert isinstance(document, dict)  # noqa: S101 - for the type checker
    relations = facts.course.relations
    return {
        "found": True,
        "summary": list(sentences),
        **document,
        "consumption": {row.content_id: row.status for row in facts.rows.look.consumption},
        "relations": {
            "leafnodes": _plain(dict(relations.leaf_nodes)),
            "optionalnodes": _plain(dict(relations.optional_nodes)),
            "ancestors": _plain(dict(relations.ancestors)),
        },
    }


def nothing_document(facts: Facts) -> dict[str, object]:
    """Give the document of ids under which there is nothing."""
    return {
        "found": False,
        "enrolment": _plain(asdict(facts.enrolment)),
        "others": [_plain(asdict(it)) for it in facts.others],
    }


def print_explanation(explained: Explanation, sentences: Sequence[str], facts: Facts) -> None:
    """Print the sentences, then the tables."""
    out = console()
    for sentence in sentences:
        click.echo(printable(sentence))
    click.echo()
    out.print(table(("cell", "value"), _enrolment_rows(explained), title="Enrolment row"))
    for hint in explained.hints:
        click.echo(f"! {printable(hint)}")
    if explained.contents:
        shown = explained.contents[:_MOST_LINES]
        out.print(table(("content", "status", "role", "units"), map(_content_row, shown), title="Contents"))
    if len(explained.contents) > _MOST_LINES:
        click.echo(f"… and {len(explained.contents) - _MOST_LINES} more contents; --json has them all")
    _print_remarks(explained)
    aggregates = [_aggregate_row(line) for line in explained.aggregates[:_MOST_LINES]]
    columns = ("activity", "required", "completedCount", "as it would be", "written", "other entries")
    out.print(table(columns, aggregates, title="Aggregates"))
    if any(line.others for line in explained.aggregates):
        click.echo("Other entries (score:… and the like) belong to another job and are left alone.")
    out.print(table(("what", "now", "after a sync"), _change_rows(explained), title="What a sync would change"))
    out.print(table(("event", "sent", "why"), _event_rows(explained), title="What a sync would announce"))
    out.print(table(("what", "value"), _certificate_rows(explained, facts), title="Certificate"))
    if explained.missing_sets:
        missing = [(key, "missing") for key in explained.missing_sets[:_MOST_LINES]]
        out.print(table(("relation set", "state"), missing, title="Relation cache"))
    if explained.collection_status:
        click.echo(f"The search service on this course: {printable(explained.collection_status)}")
    if explained.open_requests:
        requests = [
            (
                it.entry_id,
                it.paused or it.state,
                it.clicks,
                it.attempts,
                it.waits,
                it.crashes,
                _time(it.next_try_ms),
                it.reason,
            )
            for it in explained.open_requests
        ]
        heads = ("entry", "state", "clicks", "attempts", "waits", "crashes", "next look", "reason")
        out.print(table(heads, requests, title="Open requests"))
    elif explained.ledger_away is None:
        click.echo("No sync request is open for this enrolment.")


def _enrolment_rows(explained: Explanation) -> Iterable[tuple[str, object]]:
    ids, cells, details = explained.enrolment, explained.cells, explained.details
    yield "user, course, batch", f"{ids.user_id}, {ids.course_id}, {ids.batch_id}"
    if cells is None:
        yield "row", "there is none"
        return
    yield "active", "" if details.active is None else ("yes" if details.active else "no")
    yield "status", f"{cells.status} ({_status(cells.status)})"
    yield "progress", "" if cells.progress is None else cells.progress
    yield "completedon", _time(cells.completed_on_ms)
    yield "datetime", _time(details.updated_ms)
    yield "certificates", _certificates(details.certificates)
    yield "issued_certificates", _certificates(details.issued_certificates)
    yield "enrolled", details.enrolled_date or _time(details.enrolled_ms)
    yield "lastreadcontentid", details.last_read_content or ""


def _certificates(names: Sequence[str] | None) -> str:
    if names is None:
        return "(this installation's table has no such column)"
    return f"{len(names)}: {', '.join(names)}" if names else "none"


def _content_row(line: ContentLine) -> tuple[str, str, str, str]:
    status = "never opened" if line.status is None else _status(line.status)
    if not line.lacks_ancestors:
        return line.content_id, status, line.role, ", ".join(line.units)
    if line.role is Role.FOREIGN or line.status is None:
        return line.content_id, status, line.role, "(no ancestors)"
    return line.content_id, status, line.role, "(no ancestors: a unit known by it alone gets no aggregate)"


def _print_remarks(explained: Explanation) -> None:
    if explained.stale_optional:
        ids = _short(", ".join(explained.stale_optional))
        click.echo(f"Listed as optional, but not (or no longer) contents of the course: {ids}")
    if explained.units_without_leaf_nodes:
        ids = _short(", ".join(explained.units_without_leaf_nodes))
        click.echo(f"Units without leaf nodes, which count 0: {ids}")


def _aggregate_row(line: AggregateLine) -> tuple[object, ...]:
    if line.expected is None:
        after = "not written"
    elif line.expected == line.found:
        after = "the same"
    else:
        after = number(line.expected)
    return (
        f"{line.activity_id} ({'course' if line.is_course else 'unit'})",
        "unknown" if line.required is None else line.required,
        "none" if line.found is None else number(line.found),
        after,
        _time(line.updated_ms),
        _short(", ".join(line.others)),
    )


def _change_rows(explained: Explanation) -> Iterable[tuple[str, str, str]]:
    effect = explained.effect
    if effect.verdict is None:
        yield "nothing", "", _short(effect.refusal)
    elif not effect.changes:
        yield "nothing", "", "at most the times datetime and agg_last_updated are renewed"
    for change in effect.changes:
        what = f"{change.cell.value} of {change.activity_id}" if change.activity_id else change.cell.value
        yield what, _cell(change.cell, change.before), _cell(change.cell, change.after)


def _cell(cell: Cell, value: CellValue) -> str:
    if cell is Cell.COMPLETED_ON and isinstance(value, int):
        return moment(value)
    if isinstance(value, Mapping):
        return _short(", ".join(f"{content}: {status}" for content, status in sorted(value.items())))
    return number(value)


def _event_rows(explained: Explanation) -> Iterable[tuple[str, str, str]]:
    effect = explained.effect
    answer = "yes" if effect.announces else "no"
    why = "the completion is announced, once" if effect.announces else effect.why_silent
    yield "certificate event", answer, _short(why)
    yield "audit event", answer, _short(why)


def _certificate_rows(explained: Explanation, facts: Facts) -> Iterable[tuple[str, object]]:
    reason = explained.certificate
    yield "state", reason.state.value
    yield "completed on", _time(reason.completed_on_ms)
    yield "mid of its event", reason.mid or ""
    if reason.mid is not None and facts.ledger.away is None:
        memory = f"{facts.paid_memory / 86_400:g} days"
        yield "remembered as sent", ("yes" if reason.is_remembered else "no") + f" (for {memory}, ledger.paid.memory)"
    yield "template of the batch", reason.templates.value


def _status(status: int | None) -> str:
    known = {COMPLETED: "completed", IN_PROGRESS: "in progress", 0: "not started", None: "none"}
    return known.get(status, f"status {status}")


def _time(ms: int | None) -> str:
    return "" if ms is None else moment(ms)


def _short(text: str) -> str:
    shown = printable(text)
    return shown if len(shown) <= _MOST_CELL_CHARACTERS else shown[:_MOST_CELL_CHARACTERS] + "…"


def _plain(value: object) -> object:
    """Turn containers into JSON's."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
