"""What became of requests that were sent, and how it is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from commands.sync_requests import NewRequest
from commands.terminal import console, print_json_line, table
from reconciliation.model import Origin

#: A table lists so many requests at most, those that are not done before the others.
_LISTED = 1000


class Ending(StrEnum):
    """How far a request has come."""

    DONE = "done"
    GIVEN_UP = "given up"
    OPEN = "still open"
    ON_KAFKA = "not taken yet"


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that Kafka confirmed, and its place on the input topic."""

    new: NewRequest
    place: Origin

    def described(self) -> dict[str, object]:
        """Give it for scripts."""
        enrolment = self.new.enrolment
        return {
            "mid": self.new.mid,
            "user": enrolment.user_id,
            "course": enrolment.course_id,
            "batch": enrolment.batch_id,
            "topic": self.place.topic,
            "partition": self.place.partition,
            "offset": self.place.offset,
            "timestamp": self.place.timestamp_ms,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request; `detail` says why it was given up, or what it waits for."""

    sent: Sent
    ending: Ending
    detail: str = ""


def print_outcomes(outcomes: Sequence[Outcome], *, as_json: bool) -> None:
    """Print what became of the requests: a line each as JSON, else a table and how many there are of each ending."""
    if as_json:
        for outcome in outcomes:
            print_json_line({**outcome.sent.described(), "outcome": outcome.ending.value, "detail": outcome.detail})
        return
    first = sorted(outcomes, key=lambda outcome: outcome.ending is Ending.DONE)[:_LISTED]
    rows = [
        (
            it.sent.new.mid,
            it.sent.new.enrolment.user_id,
            it.sent.new.enrolment.course_id,
            it.sent.new.enrolment.batch_id,
            it.ending.value,
            it.detail,
        )
        for it in first
    ]
    console().print(table(["mid", "user", "course", "batch", "outcome", "why"], rows))
    counts = [(ending, sum(it.ending is ending for it in outcomes)) for ending in Ending]
    told = ", ".join(f"{count} {ending}" for ending, count in counts if count)
    more = f" ({len(outcomes) - len(first)} of them not listed)" if len(first) < len(outcomes) else ""
    console().print(f"of {len(outcomes)}: {told}{more}")
