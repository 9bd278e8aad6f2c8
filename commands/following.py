"""Follows requests that were sent from Kafka through the ledger to their end.

A request has ended when a bridge has taken it and the ledger no longer holds it open, in an entry of its own or in one
that it joined; one that was given up then lies on the failed topic (docs/reliability.md, an entry's life).
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import click

from bridge.positions import Committed
from commands.endings import ServerAway
from commands.failures_of import FailuresOf, told_failure
from commands.interruption import Interruption
from commands.outcomes import Ending, Outcome, Sent
from commands.progress import Progress
from commands.retention import has_members
from commands.standing import Stage, is_taken, standing_of, told_entry
from commands.topics import KafkaReader, Span, failed_topic, input_topic
from ledger.ledger import Identity
from ledger.reading import LedgerReader
from reconciliation.errors import LedgerUnavailable
from reconciliation.settings import Settings

_PAUSE_SECONDS = 0.5
#: How many open requests one look asks about singly: which entry a request joined shows only while it is open.
_LOOKED_AT = 100

Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Followed:
    """What became of the requests, in the order in which they were sent."""

    outcomes: Sequence[Outcome]
    is_interrupted: bool

    def count_given_up(self) -> int:
        """Count those that were given up."""
        return sum(it.ending is Ending.GIVEN_UP for it in self.outcomes)

    def count_left(self) -> int:
        """Count those that had not ended."""
        return sum(it.ending in (Ending.OPEN, Ending.ON_KAFKA) for it in self.outcomes)


@dataclass(slots=True)
class _Watch:
    """What is known so far: requests that have not ended, those seen open, and what those joined that have no entry."""

    pending: dict[Place, Sent]
    life: Identity | None = None
    seen: set[Place] = field(default_factory=set)
    joined: dict[Place, Place] = field(default_factory=dict)
    committed: Mapping[int, Committed] = field(default_factory=dict)


def follow(
    settings: Settings,
    kafka: KafkaReader,
    ledger: LedgerReader,
    sent: Sequence[Sent],
    before: Mapping[int, int],
    seconds: float,
    interruption: Interruption,
) -> Followed:
    """Wait until all requests have ended, for `seconds` at most, or until it is interrupted.

    `before` are the ends of the failed topic's partitions from before the first was sent. A server that is away
    meanwhile is waited for within that time. Raises ServerAway or LedgerUnavailable when one is away at the end.
    """
    if has_members(settings) is False:
        click.echo(
            f"warning: nobody is in consumer group {settings.kafka_group_id} (kafka.groupId): no bridge runs, and "
            "nothing is taken until one does",
            err=True,
        )
    watch = _Watch({(it.place.partition, it.place.offset): it for it in sent})
    deadline = time.monotonic() + seconds
    with Progress("waiting for their end", len(sent)) as progress:
        while True:
            is_last = time.monotonic() >= deadline or interruption.is_asked
            waiting = len(watch.pending)
            try:
                _look(settings, kafka, ledger, watch)
            except (ServerAway, LedgerUnavailable):
                if is_last:
                    raise
            progress.advance(waiting - len(watch.pending))
            if is_last or not watch.pending:
                break
            interruption.pause(min(_PAUSE_SECONDS, max(0.0, deadline - time.monotonic())))
    span = kafka.span(failed_topic(settings))
    since = {partition: max(offset, before.get(partition, 0)) for partition, offset in span.begin.items()}
    requests = [(it.place, it.new.enrolment) for it in sent]
    failures = FailuresOf(kafka, Span(span.topic, since, span.end), requests)
    outcomes = [_outcome(ledger, watch, failures, it) for it in sent]
    return Followed(outcomes, interruption.is_asked and bool(watch.pending))


def _look(settings: Settings, kafka: KafkaReader, ledger: LedgerReader, watch: _Watch) -> None:
    """Find out which requests have ended since the last look."""
    topic = input_topic(settings)
    life = ledger.life()
    if life != watch.life:
        # what another life of the ledger held open says nothing: it is taken in again
        watch.life, watch.seen = life, set()
    # in this order: what is committed was in the ledger before
    watch.committed = kafka.committed(topic)
    pending: dict[int, list[int]] = {}
    for partition, offset in watch.pending:
        pending.setdefault(partition, []).append(offset)
    is_open: set[Place] = set()
    for partition, offsets in pending.items():
        found = ledger.open_offsets(topic.name, partition, min(offsets), max(offsets))
        is_open |= {(partition, offset) for offset in found}
    if ledger.life() != life:
        return
    ended = [
        place
        for place in watch.pending
        if place not in is_open and (place in watch.seen or is_taken(watch.committed.get(place[0]), place[1], life))
    ]
    for place in ended:
        del watch.pending[place]
    watch.seen |= is_open & watch.pending.keys()
    _note_joined(ledger, watch)


def _note_joined(ledger: LedgerReader, watch: _Watch) -> None:
    """Find out which of the open requests have joined another's entry."""
    unknown = [place for place in watch.seen & watch.pending.keys() if place not in watch.joined][:_LOOKED_AT]
    for place in unknown:
        it = watch.pending[place]
        standing = standing_of(ledger, watch.committed, it.new.enrolment, it.place)
        if standing.stage is Stage.OPEN:
            watch.joined[place] = place
        elif standing.entry is not None and standing.entry.origin is not None:
            watch.joined[place] = (standing.entry.origin.partition, standing.entry.origin.offset)


def _outcome(ledger: LedgerReader, watch: _Watch, failures: FailuresOf, it: Sent) -> Outcome:
    place = (it.place.partition, it.place.offset)
    if place not in watch.pending:
        failure = failures.of(it.place, it.new.enrolment, watch.joined.get(place))
        if failure is None:
            return Outcome(it, Ending.DONE)
        return Outcome(it, Ending.GIVEN_UP, told_failure(failure, it.place))
    standing = standing_of(ledger, watch.committed, it.new.enrolment, it.place)
    match standing.stage:
        case Stage.ON_KAFKA:
            committed = watch.committed.get(place[0])
            at = "nothing" if committed is None or committed.offset is None else f"offset {committed.offset}"
            return Outcome(it, Ending.ON_KAFKA, f"of partition {place[0]} the bridge has committed {at}")
        case Stage.ENDED:
            return Outcome(it, Ending.DONE)
        case _:
            entry = standing.entry
            how = "" if standing.stage is Stage.OPEN else "joined to an earlier request; "
            return Outcome(it, Ending.OPEN, how + ("" if entry is None else told_entry(entry)))
