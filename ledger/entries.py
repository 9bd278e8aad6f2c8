"""What goes into the ledger and comes out of it: frozen values, and how an entry is written down."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from reconciliation.model import Attempt, EnrolmentKey, FinalFailure, Origin, Record, SyncRequest

#: The entry's layout. A release that changes it raises the number; older ones leave newer entries waiting.
ENTRY_VERSION = 1

#: What the accept script says of requests that did not come in.
_NOT_ACCEPTED = ("full", "stopped", "taken")


@dataclass(frozen=True, slots=True)
class Ticket:
    """Names one attempt: an entry and the generation that may be claimed. All that a message carries.

    `course_id` tells what belongs into one message, and people who look at it on its way what it is about; once it was
    received it is empty. So is `run`, the bulk run in whose lane the message goes, empty for the clicks'.
    """

    entry_id: str
    generation: int
    course_id: str = field(default="", compare=False)
    run: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What became of a list of requests given to `accept`.

    `accepted` counts the requests from the list's start that the ledger holds now; less than were given means that
    its bound is reached, with `stopped` that an operator paused it, or with `taken` that the next one came under the
    offset of another that is still open, and waits for its end. `tickets` are those to send, each entry named
    once; `collapsed` counts requests that joined one that waited already.
    """

    accepted: int
    tickets: tuple[Ticket, ...]
    collapsed: int
    stopped: bool = False
    taken: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """One attempt that has begun, with everything that the ledger knows of its request.

    `attempts` counts earlier tries that failed for a reason of the request's own, `waits` tries that met an outage,
    `crashes` attempts that ended without a word in a process of their own; `isolated` says that this one is to run so.
    `owed_ms` is the completedon recorded by an earlier attempt, `failure` a final failure whose event may not have left
    yet. `repairing` says that a bulk run's request ends with it (see `reconciliation.model.Attempt`).
    """

    entry_id: str
    generation: int
    token: str
    request: SyncRequest
    attempts: int
    waits: int
    crashes: int
    isolated: bool
    owed_ms: int | None
    failure: FinalFailure | None
    reason: str
    accepted_ms: int
    repairing: bool = False

    def attempt(self) -> Attempt:
        """Give what the domain needs to know of this claim."""
        return Attempt(
            entry_id=self.entry_id,
            enrolment=self.request.enrolment,
            requested_ms=self.request.record.origin.timestamp_ms,
            owed_ms=self.owed_ms,
            repeated=self.request.repeated,
            repairing=self.repairing,
        )


class Spends(StrEnum):
    """What a retry is counted as."""

    ATTEMPT = "attempts"
    WAIT = "waits"
    CRASH = "crashes"


@dataclass(frozen=True, slots=True)
class RetryLater:
    """An attempt that goes on after `delay_ms`, with the reason that operators are shown.

    What spends an attempt goes on alone; what waits for a server may share a message again. `waits_for` names the one
    server or course that it waits for while others need not: such a wait has a bound of its own. `code` is the error's,
    for metrics and logs.
    """

    entry_id: str
    delay_ms: int
    spends: Spends
    reason: str
    waits_for: str = ""
    code: str = "OTHER"


class FailureStatus(StrEnum):
    """What the ledger answered when an attempt recorded a final failure."""

    OWED = "owed"
    HELD = "held"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Occupancy:
    """How full the ledger is: offsets that are `open`, and how many of these its bound counts."""

    open: int
    counted: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """An entry that owes nothing more; `paid_mid` is remembered so that nobody announces it again.

    `given_up` says that it lies on the failed topic, which bulk runs count.
    """

    entry_id: str
    paid_mid: str | None = None
    given_up: bool = False


class SweepReason(StrEnum):
    """Why the sweep sends an entry again."""

    LAPSED = "lapsed"
    RETRY = "retry"
    UNCLAIMED = "unclaimed"


@dataclass(frozen=True, slots=True)
class Swept:
    """An overdue entry, and the generation that may be claimed; `alone` says that it must not share a message."""

    ticket: Ticket
    alone: bool
    why: SweepReason


def enrolment_field(key: EnrolmentKey) -> str:
    """Write an enrolment's three ids as one unambiguous text."""
    return json.dumps([key.user_id, key.course_id, key.batch_id], ensure_ascii=False, separators=(",", ":"))


def decode_enrolment(text: bytes) -> EnrolmentKey:
    """Read what `enrolment_field` wrote."""
    user_id, course_id, batch_id = json.loads(text)
    return EnrolmentKey(user_id, course_id, batch_id)


def encode_request(request: SyncRequest) -> str:
    """Write down what never changes of a request, but for the event itself, which is stored as it came."""
    origin = request.record.origin
    headers = [
        [name, None if value is None else base64.b64encode(value).decode()] for name, value in request.record.headers
    ]
    return json.dumps([origin.topic, origin.partition, origin.offset, headers], separators=(",", ":"))


def accept_arguments(request: SyncRequest) -> list[str | bytes | int]:
    """Write down a request for the accept script."""
    origin, key = request.record.origin, request.record.key
    return [
        request.entry_id,
        enrolment_field(request.enrolment),
        origin.topic,
        origin.partition,
        origin.offset,
        origin.timestamp_ms,
        encode_request(request),
        key or b"",
        0 if key is None else 1,
        request.record.value or b"",
        int(request.repeated),
        request.run,
    ]


def decode_acceptance(requests: Sequence[SyncRequest], rows: Sequence[tuple[bytes, int, bytes]]) -> Acceptance:
    """Read what the accept script said of each of these requests."""
    statuses = [status.decode() for status, _, _ in rows]
    accepted = next((at for at, status in enumerate(statuses) if status in _NOT_ACCEPTED), len(rows))
    tickets = {}
    for request, (_, generation, entry_id) in zip(requests[:accepted], rows, strict=False):
        if generation:
            # a click that joined a run's entry has brought it out of the run's lane
            ticket = Ticket(entry_id.decode(), generation, request.enrolment.course_id, request.run)
            tickets[ticket.entry_id] = ticket
    collapsed = statuses[:accepted].count("collapsed")
    is_taken = statuses[accepted : accepted + 1] == ["taken"]
    return Acceptance(accepted, tuple(tickets.values()), collapsed, "stopped" in statuses, is_taken)


def decode_claim(fields: Mapping[str, bytes], entry_id: str) -> Claim:
    """Read an entry's fields, as the claim script returned them.

    Raises ValueError or KeyError when the entry isn't of the layout that `ENTRY_VERSION` names.
    """
    topic, partition, offset, headers = json.loads(fields["request"])
    origin = Origin(topic, partition, offset, int(fields["requested"]))
    record = Record(
        origin=origin,
        key=fields.get("key"),
        value=fields["event"],
        headers=tuple((name, None if value is None else base64.b64decode(value)) for name, value in headers),
    )
    request = SyncRequest(
        entry_id=entry_id,
        enrolment=decode_enrolment(fields["enrolment"]),
        record=record,
        repeated=fields["repeated"] == b"1",
        run=fields.get("lane", b"").decode(),
    )
    failure = fields.get("failure")
    return Claim(
        entry_id=entry_id,
        generation=int(fields["generation"]),
        token=fields["token"].decode(),
        request=request,
        attempts=int(fields["attempts"]),
        waits=int(fields["waits"]),
        crashes=int(fields["crashes"]),
        isolated=fields.get("isolated") == b"1",
        owed_ms=int(fields["owed"]) if "owed" in fields else None,
        failure=None if failure is None else decode_failure(failure),
        reason=fields.get("reason", b"").decode(errors="replace"),
        accepted_ms=int(fields["accepted"]),
        repairing=fields.get("repairing") == b"1",
    )


def encode_failure(failure: FinalFailure) -> str:
    """Write down why a request is given up."""
    return json.dumps([failure.code, failure.error, failure.attempts, failure.failed_at_ms])


def decode_failure(text: bytes) -> FinalFailure:
    """Read what `encode_failure` wrote."""
    code, error, attempts, failed_at_ms = json.loads(text)
    return FinalFailure(code, error, attempts, failed_at_ms)
