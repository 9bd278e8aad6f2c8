"""`explain`: says what stands in the tables for one enrolment, what a sync would change, and why."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click
from prometheus_client import CollectorRegistry

from commands.endings import EXIT_NOT_DONE, NotDone, told
from commands.explaining_output import as_document, nothing_document, print_explanation
from commands.options import enrolment_options
from commands.servers import read_ledger, read_settings, relation_cache_away, store_away
from commands.terminal import examples, json_option, print_json, printable
from ledger.reading import OpenEntry
from reconciliation import from_settings
from reconciliation.comparison import LearnerRows
from reconciliation.counters import Counters
from reconciliation.course import Course
from reconciliation.course_lookup import look_up
from reconciliation.detail_reader import DetailReader
from reconciliation.errors import (
    LedgerUnavailable,
    ReconciliationError,
    RelationCacheUnavailable,
    RequestFailed,
    StoreUnavailable,
)
from reconciliation.events import completion_mid
from reconciliation.explanation import explain as explain_facts
from reconciliation.explanation_facts import Facts, LedgerFacts, OpenRequest, OtherEnrolment
from reconciliation.explanation_verdict import verdict
from reconciliation.from_settings import collection_search, rules, store_config
from reconciliation.model import COMPLETED, Completion, EnrolmentKey
from reconciliation.printing import some_of
from reconciliation.settings import Settings

_MOST_NAMED = 10


@click.command(
    epilog=examples(
        "explain --user 8454cb21 --course do_112721 --batch 012608", "explain --user … --course … --batch … --json"
    )
)
@enrolment_options(required=True)
@json_option
@told
def explain(user_id: str, course_id: str, batch_id: str, as_json: bool) -> None:
    """Explain one enrolment: what is completed, what a sync would change, and why a certificate came or did not.

    A few sentences first, then tables: the row, the contents, the aggregates, what would change, what the relation
    cache lacks. It reads Cassandra, the relation cache, the search service where leaf nodes are missing, and the
    ledger, and changes nothing. Ends with 1 where there is nothing under these ids, and names those that there are.
    """
    settings = read_settings()
    key = EnrolmentKey(user_id, course_id, batch_id)
    with _reader(settings) as reader:
        facts = _facts(settings, reader, key)
    if facts.rows.enrolment is None and not facts.rows.look.consumption:
        if as_json:
            print_json(nothing_document(facts))
            sys.exit(EXIT_NOT_DONE)
        raise NotDone(_nothing(key, facts.others))
    explained = explain_facts(facts)
    sentences = verdict(explained, facts)
    if as_json:
        print_json(as_document(explained, sentences, facts))
    else:
        print_explanation(explained, sentences, facts)


@contextmanager
def _reader(settings: Settings) -> Iterator[DetailReader]:
    """Give the connection to Cassandra, and say of a server that is away which setting leads to it."""
    counters = Counters(CollectorRegistry())
    try:
        reader = DetailReader.connect(store_config(settings), counters)
        try:
            yield reader
        finally:
            reader.close()
    except StoreUnavailable as error:
        raise store_away(error) from error
    except RelationCacheUnavailable as error:
        raise relation_cache_away(error) from error
    except RequestFailed as error:
        raise NotDone(f"nothing can stand under these ids: {printable(str(error))}") from error


def _facts(settings: Settings, reader: DetailReader, key: EnrolmentKey) -> Facts:
    (rows,) = reader.look([key])
    if isinstance(rows, ReconciliationError):
        raise rows
    course = _course(settings, key, rows)
    nodes = {key.course_id, *course.relations.leaf_nodes}.union(*course.relations.ancestors.values())
    (aggregates,) = reader.aggregates([(key, nodes)])
    if isinstance(aggregates, ReconciliationError):
        raise aggregates
    return Facts(
        enrolment=key,
        now_us=time.time_ns() // 1000,
        rules=rules(settings),
        rows=rows,
        course=course,
        aggregates=aggregates,
        details=reader.details(key),
        templates=reader.templates(key),
        ledger=_ledger(settings, key, rows),
        others=reader.others(key),
        is_search_set=settings.search_base_path is not None,
        retry_attempts=settings.retry_attempts,
        paid_memory=settings.ledger_paid_memory,
    )


def _course(settings: Settings, key: EnrolmentKey, rows: LearnerRows) -> Course:
    """Read the course's relations for what was opened and for what is required; each may be in other units."""
    relations = from_settings.relations(settings, Counters(CollectorRegistry()))
    search = collection_search(settings)
    consumed = {row.content_id for row in rows.look.consumption}
    try:
        known = relations.read({key.course_id: consumed})[key.course_id]
        if isinstance(known, ReconciliationError):
            raise known
        leaf_nodes = known.leaf_nodes.get(key.course_id, frozenset())
        course = look_up(relations, search, {key.course_id: consumed | leaf_nodes})[key.course_id]
        if isinstance(course, ReconciliationError):
            raise course
        return course
    finally:
        relations.close()
        if search is not None:
            search.close()


def _ledger(settings: Settings, key: EnrolmentKey, rows: LearnerRows) -> LedgerFacts:
    """Ask the ledger; one that is away is told of and keeps nothing else from being explained."""
    try:
        with read_ledger(settings) as reader:
            cells, is_paid = rows.enrolment, None
            if cells is not None and cells.status == COMPLETED and cells.completed_on_ms is not None:
                is_paid = reader.is_paid(completion_mid(Completion(key, cells.completed_on_ms)))
            return LedgerFacts(tuple(_open_request(entry) for entry in reader.of_enrolment(key)), is_paid)
    except LedgerUnavailable as error:
        return LedgerFacts(away=f"{error}; does ledger.redis.url (LEDGER_REDIS_URL) name it?")


def _open_request(entry: OpenEntry) -> OpenRequest:
    return OpenRequest(
        entry_id=entry.entry_id,
        state=entry.state,
        attempts=entry.attempts,
        waits=entry.waits,
        crashes=entry.crashes,
        clicks=entry.clicks,
        reason=entry.reason,
        requested_ms=0 if entry.origin is None else entry.origin.timestamp_ms,
        accepted_ms=entry.accepted_ms or 0,
        next_try_ms=entry.due_ms,
        owed_ms=entry.owed_ms,
        failure=None if entry.failure is None else f"{entry.failure.code}: {entry.failure.error}",
        paused=entry.paused,
    )


def _nothing(key: EnrolmentKey, others: Sequence[OtherEnrolment]) -> str:
    """Say that there is nothing under these ids, and which of the learner's there are."""
    where = f"user {key.user_id}, course {key.course_id}, batch {key.batch_id}"
    beginning = f"there is neither an enrolment nor consumption for {where}"
    batches = [it.batch_id for it in others if it.course_id == key.course_id]
    courses = list(dict.fromkeys(it.course_id for it in others if it.course_id != key.course_id))
    if batches:
        known = f"this learner has rows in other batches of this course: {some_of(batches, _MOST_NAMED)}"
    elif courses:
        known = f"this learner has rows in other courses: {some_of(courses, _MOST_NAMED)}"
    else:
        known = "no row names this learner at all: is the user's id right?"
    return printable(f"{beginning}; {known}")
