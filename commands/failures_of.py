"""Finds out on the failed topic which of some requests were given up."""

from collections.abc import Sequence

from commands.failures import Failure, read_failure
from commands.progress import Progress
from commands.topics import KafkaReader, Span
from reconciliation.model import EnrolmentKey, Origin
from reconciliation.replays import origin_of

Place = tuple[int, int]


class FailuresOf:
    """The failed events of these requests, given as (place on the input topic, enrolment), and of their enrolments.

    Reads the span at once; raises ServerAway as that does.
    """

    def __init__(self, kafka: KafkaReader, span: Span, requests: Sequence[tuple[Origin, EnrolmentKey | None]]) -> None:
        self._places = {(origin.topic, origin.partition, origin.offset) for origin, _ in requests}
        self._enrolments = {enrolment for _, enrolment in requests}
        self._learners = {key.user_id.encode("utf-8", errors="replace") for _, key in requests if key is not None}
        self._by_place: dict[Place, Failure] = {}
        self._by_enrolment: dict[EnrolmentKey, list[Failure]] = {}
        with Progress("reading failed events", len(span)) as progress:
            for record in kafka.read(span, passed=progress.advance):
                origin = origin_of(record)
                if origin is None:
                    continue
                is_own = (origin.topic, origin.partition, origin.offset) in self._places
                # an event that had to be cut may have lost its key
                if is_own or record.key in self._learners:
                    self._note(read_failure(record), origin, is_own=is_own)

    def of(self, origin: Origin, enrolment: EnrolmentKey | None, joined: Place | None = None) -> Failure | None:
        """Give the failed event that a request ended with, None where it was not given up.

        `joined` is the place of the request that it was seen to have joined, or its own where it had joined none. Where
        that is not known, an earlier request for its enrolment that failed after it came counts as the one it joined.
        """
        own = (origin.partition, origin.offset)
        if own in self._by_place or joined is not None:
            return self._by_place.get(own) or self._by_place.get(joined or own)
        for failure in self._by_enrolment.get(enrolment, []) if enrolment is not None else []:
            before = failure.origin
            if (
                before is not None
                and (before.topic, before.partition) == (origin.topic, origin.partition)
                and before.offset < origin.offset
                and failure.failed_ms >= origin.timestamp_ms
            ):
                return failure
        return None

    def _note(self, failure: Failure, origin: Origin, *, is_own: bool) -> None:
        key = EnrolmentKey(failure.user_id or "", failure.course_id or "", failure.batch_id or "")
        if is_own or key in self._enrolments:
            kept = failure.without_value()
            self._by_place[origin.partition, origin.offset] = kept
            self._by_enrolment.setdefault(key, []).append(kept)


def told_failure(failure: Failure, place: Origin) -> str:
    """Say why the request at this place was given up, and with which other one where that is so."""
    origin = failure.origin
    why = f"{failure.reason}: {failure.error}"
    if origin is None or (origin.partition, origin.offset) == (place.partition, place.offset):
        return why
    return f"{why} (with the request at {origin.partition}@{origin.offset}, same enrolment)"
