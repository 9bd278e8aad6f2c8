"""The first lines of an explanation: what a support person can read out to a learner. Pure."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from reconciliation.comparison import Cell, CellValue, Change
from reconciliation.explanation import ContentLine, Effect, Explanation
from reconciliation.explanation_facts import Facts, OpenRequest
from reconciliation.model import COMPLETED, IN_PROGRESS, Verdict
from reconciliation.printing import some_of

_MOST_NAMED = 5


def verdict(explanation: Explanation, facts: Facts) -> tuple[str, ...]:
    """Give a few sentences, each a line: contents, enrolment, what a sync would do, certificate, open requests."""
    return (
        contents_sentence(explanation),
        enrolment_sentence(explanation),
        sync_sentence(explanation, facts.retry_attempts),
        explanation.certificate.sentence,
        *(_request_sentence(request) for request in explanation.open_requests),
        *_ledger_sentences(explanation),
    )


def contents_sentence(explanation: Explanation) -> str:
    """Say how far the learner is."""
    required = explanation.required
    consumed = [line for line in explanation.contents if line.status is not None]
    if not explanation.is_course_known:
        opened = "The learner has opened nothing in this batch"
        if consumed:
            opened = f"The learner has completed {_count(consumed)} of {len(consumed)} opened contents"
        known = f"; what the course requires is not known, since its leaf nodes are missing{_search_text(explanation)}."
        return opened + known
    if not required:
        return "The course requires no content, so it counts as completed once something of it was opened."
    done = _count(required)
    if done == len(required):
        return f"The learner has completed all {len(required)} required {_plural('content', len(required))}."
    still = [line for line in required if not line.is_completed]
    which = f"{_listed([line.content_id for line in still])} {'is' if len(still) == 1 else 'are'} still open"
    told = ", ".join(f"{line.content_id} {_opened(line.status)}" for line in still[:_MOST_NAMED])
    if not consumed:
        return f"The learner has opened none of the {len(required)} required {_plural('content', len(required))}."
    more = ", …" if len(still) > _MOST_NAMED else ""
    return f"The learner has completed {done} of {len(required)} required contents; {which} ({told}{more})."


def enrolment_sentence(explanation: Explanation) -> str:
    """Say what the enrolment's row says."""
    cells = explanation.cells
    if cells is None:
        elsewhere = [it.batch_id for it in explanation.others if _is_of_this_course(explanation, it.course_id)]
        others = f" The learner is enrolled in other batches of this course: {_listed(elsewhere)}." if elsewhere else ""
        return f"There is no enrolment row: the learner is not enrolled in this batch.{others}"
    inactive = " It is inactive." if explanation.details.active is False else ""
    if cells.status == COMPLETED:
        when = "without a completedon" if cells.completed_on_ms is None else f"since {moment(cells.completed_on_ms)}"
        open_ones = [line for line in explanation.required if not line.is_completed]
        grown = "; by what the course is now, something required is open" if open_ones else ""
        return f"The enrolment says completed {when}{grown}.{inactive}"
    status = {IN_PROGRESS: "in progress", 0: "not started", None: "not started"}.get(cells.status)
    status = status or f"status {cells.status}"
    shown = 0 if cells.progress is None else cells.progress
    return f"The enrolment says {status}, with progress {shown}.{inactive}"


def sync_sentence(explanation: Explanation, retry_attempts: int) -> str:
    """Say what a sync would do."""
    effect = explanation.effect
    if effect.is_waiting:
        return f"A sync would wait until the search service answers ({effect.refusal})."
    if effect.verdict is None:
        return (
            f"A sync can't be answered now: it would be tried {retry_attempts} times over some minutes and then be "
            f"given up ({effect.refusal}). Have the course's relations filled again."
        )
    if not effect.changes:
        announcing = " It would announce the completion again unless the ledger remembers that it was announced."
        return f"A sync would change nothing.{announcing if effect.announces else _left(effect)}"
    if effect.announces:
        return "A sync would complete the enrolment and ask for the certificate."
    return f"A sync would {_listed(list(_change_texts(effect.changes)))}.{_left(effect)}"


def _left(effect: Effect) -> str:
    """Say why the enrolment's own row would stay as it is, where that is not plain."""
    if effect.verdict is Verdict.ALREADY_COMPLETED:
        return " The enrolment itself is left alone, since it is completed already."
    if effect.verdict is Verdict.RETIRED:
        return " The course is retired, so its own row and the enrolment are left alone."
    if effect.verdict is Verdict.NO_ENROLMENT:
        return " No enrolment is made where there is none."
    if effect.verdict is Verdict.NO_CONSUMPTION:
        return " Nothing was opened in this batch."
    return ""


def _change_texts(changed: Sequence[Change]) -> Iterator[str]:
    """Say what would change without the details, which stand in the tables."""
    for change in changed:
        if change.cell in (Cell.STATUS, Cell.PROGRESS):
            yield f"set {change.cell.value} from {number(change.before)} to {number(change.after)}"
        elif change.cell is Cell.CONTENT_STATUS:
            yield "bring contentstatus up to date"
        elif change.cell is Cell.COMPLETED_ON:
            yield "set completedon"
    counts = sum(change.cell is Cell.COMPLETED_COUNT for change in changed)
    if counts:
        yield f"correct {counts} completed {_plural('count', counts)} of course and units"


def number(value: CellValue) -> str:
    """Write what a cell holds that is no map."""
    if value is None:
        return "nothing"
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)


def _request_sentence(request: OpenRequest) -> str:
    clicks = "" if request.clicks == 1 else f" ({request.clicks} clicks)"
    asked = f"A sync asked for at {moment(request.requested_ms)}{clicks}"
    if request.state == "claimed":
        return f"{asked} is being worked on now."
    spent = f"after {request.attempts} failed {_plural('try', request.attempts)}" if request.attempts else ""
    spent += f"{' and' if spent else 'after'} {request.waits} {_plural('wait', request.waits)}" if request.waits else ""
    when = "" if request.next_try_ms is None else f", next looked at {moment(request.next_try_ms)}"
    when += f", kept back until `resume`, since {request.paused}" if request.paused else ""
    why = f": {request.reason}" if request.reason else ""
    ending = f"; it is given up ({request.failure})" if request.failure else ""
    return f"{asked} is open{' ' if spent else ''}{spent}{when}{ending}{why}."


def _ledger_sentences(explanation: Explanation) -> Iterator[str]:
    if explanation.ledger_away is not None:
        yield f"Whether a sync is open is not known: {explanation.ledger_away}."


def _search_text(explanation: Explanation) -> str:
    said = explanation.collection_status
    if said == "retired":
        return " (the search service says that it is retired)"
    return f" (search service: {said})" if said else ""


def _opened(status: int | None) -> str:
    if status is None:
        return "was never opened"
    return "is in progress" if status == IN_PROGRESS else f"has status {status}"


def _is_of_this_course(explanation: Explanation, course_id: str) -> bool:
    return course_id == explanation.enrolment.course_id


def _count(lines: Sequence[ContentLine]) -> int:
    return sum(line.is_completed for line in lines)


def _listed(names: Sequence[str]) -> str:
    if len(names) > _MOST_NAMED:
        return some_of(names, _MOST_NAMED)
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def _plural(word: str, count: int) -> str:
    if count == 1:
        return word
    return "tries" if word == "try" else f"{word}s"


def moment(ms: int) -> str:
    """Write a time, given in milliseconds since 1970, for people; one that no calendar holds as it is."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{ms} ms"
