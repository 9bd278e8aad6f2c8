"""`relations`: compares courses' relation sets with their hierarchies, and asks for them anew where it is told to."""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click
from prometheus_client import CollectorRegistry

from commands.course_drift import CourseDrift, State, compare
from commands.endings import EXIT_NOT_DONE, NotDone, ServerAway, told
from commands.options import TEXT
from commands.relating_output import as_document, print_drift
from commands.servers import open_publisher, read_settings, relation_cache_away, store_away
from commands.terminal import examples, json_option, print_json, progress
from reconciliation import from_settings
from reconciliation.counters import Counters
from reconciliation.errors import ReconciliationError, RelationCacheUnavailable, RequestFailed, StoreUnavailable
from reconciliation.events import healing_event
from reconciliation.hierarchy_reader import HierarchyReader
from reconciliation.relation_sets import RelationSource
from reconciliation.settings import Settings
from reconciliation.settings_relations import CASSANDRA, REDIS

#: How many courses one call compares at most.
MOST_COURSES = 1000


@click.command(
    epilog=examples(
        "relations --course do_1127212344324751361295",
        "relations --course do_1 --course do_2 --json",
        "relations --course do_1127212344324751361295 --heal",
    )
)
@click.option(
    "--course",
    "courses",
    multiple=True,
    required=True,
    type=TEXT,
    metavar="ID",
    help="A course's id; may be given repeatedly.",
)
@click.option(
    "--source",
    type=click.Choice([REDIS, CASSANDRA]),
    help="Look at this one of relations.sources alone, and not at the one that a worker takes.",
)
@click.option(
    "--heal",
    is_flag=True,
    help="Ask the job that makes relation sets for those of each course that drifts, by an event on "
    "relations.healing.topic; at once, however lately it was asked.",
)
@json_option
@told
def relations(courses: tuple[str, ...], source: str | None, heal: bool, as_json: bool) -> None:
    """Compare courses' relation sets with the hierarchies that they are made from.

    It names missing sets, leaf nodes and ancestors that differ, optional nodes that are none any more, and units that
    are gone, each with what helps. It changes nothing, and sends an event only with --heal. Ends with 0 where all is
    as it should be, with 1 where a course drifts or can't be compared.
    """
    distinct = list(dict.fromkeys(courses))
    if len(distinct) > MOST_COURSES:
        raise click.UsageError(f"{len(distinct)} courses are too many for one call: at most {MOST_COURSES}")
    settings = read_settings()
    if source is not None and source not in settings.relation_sources:
        raise click.UsageError(f"relations.sources (RELATIONS_SOURCES) does not name {source}")
    found = _compare_all(settings, distinct, source)
    drifting = [it.course_id for it in found if it.state is State.DRIFT]
    asked = _ask(settings, drifting) if heal else []
    if as_json:
        print_json(as_document(found, asked))
    else:
        print_drift(settings, found, asked)
    if any(it.state is not State.IN_ORDER for it in found):
        sys.stdout.flush()
        sys.exit(EXIT_NOT_DONE)


def _compare_all(settings: Settings, courses: Sequence[str], only: str | None) -> list[CourseDrift]:
    found = []
    with _servers(settings) as (reader, sources), progress("comparing") as tell:
        chosen = [it for it in sources if only is None or it.name == only]
        for number, course_id in enumerate(courses, start=1):
            tell(f"comparing course {number} of {len(courses)}: {course_id}")
            found.append(compare(course_id, reader, chosen))
    return found


@contextmanager
def _servers(settings: Settings) -> Iterator[tuple[HierarchyReader, Sequence[RelationSource]]]:
    """Give the ways to hierarchies and relation sets, and say of a server that is away which setting leads to it."""
    # what goes wrong is told in one line
    for client in ("cassandra", "reconciliation"):
        logging.getLogger(client).setLevel(logging.CRITICAL)
    counters = Counters(CollectorRegistry())
    sources = from_settings.relation_sources(settings, counters)
    try:
        reader = HierarchyReader(
            from_settings.store_config(settings), from_settings.hierarchy_table(settings), counters
        )
        try:
            yield reader, sources
        finally:
            reader.close()
    except StoreUnavailable as error:
        raise store_away(error) from error
    except RelationCacheUnavailable as error:
        raise relation_cache_away(error) from error
    except RequestFailed as error:
        raise NotDone(f"nothing can stand under such an id: {error}") from error
    finally:
        for source in sources:
            source.close()


def _ask(settings: Settings, courses: Sequence[str]) -> list[str]:
    """Send an event for each course and wait until Kafka has them; gives the courses."""
    if not courses:
        return []
    now_ms = time.time_ns() // 1_000_000
    topic = settings.relation_healing_topic
    with open_publisher(settings) as publisher:
        reports = publisher.publish([healing_event(course_id, topic, now_ms) for course_id in courses])
    failed = [(it, report) for it, report in zip(courses, reports, strict=True) if report is not None]
    if failed:
        raise ServerAway(_unasked(topic, failed))
    return list(courses)


def _unasked(topic: str, failed: Sequence[tuple[str, ReconciliationError]]) -> str:
    course_id, error = failed[0]
    more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    return (
        f"{course_id}{more} could not be asked for on {topic}: {error}; is Kafka up, and does relations.healing.topic "
        "(RELATIONS_HEALING_TOPIC) name a topic that there is?"
    )
