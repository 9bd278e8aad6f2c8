"""What a trace says, and in which order things happened."""

from dataclasses import replace

import pytest

from bridge.marks import CommitMark
from bridge.positions import Committed
from commands.failures import read_failure
from commands.standing import Stage, Standing, is_taken, told_entry
from commands.traces import Announcement, Moment, Trace, TracedEnrolment, TracedRequest, statements, timeline
from ledger.ledger import Identity
from ledger.reading import OpenEntry
from reconciliation.current_rows import CurrentAggregate, CurrentEnrolment
from reconciliation.failed_event import failed_event
from reconciliation.model import EnrolmentKey, FinalFailure, Origin, Record

KEY = EnrolmentKey("u", "c", "b")
ORIGIN = Origin("input", 1, 42, 10_000)
ENTRY = OpenEntry(
    entry_id="id",
    state="waiting",
    origin=ORIGIN,
    attempts=2,
    waits=1,
    crashes=0,
    reason="RELATIONS_MISSING: no leaf nodes",
    accepted_ms=11_000,
    due_ms=60_000,
    owed_ms=None,
    failure=None,
    repeated=False,
)
REQUEST = TracedRequest(
    origin=ORIGIN,
    enrolment=KEY,
    is_repeated=False,
    first_ms=10_000,
    problem=None,
    standing=Standing(Stage.ENDED),
    failure=None,
    committed=50,
)
COMPLETED = CurrentEnrolment(status=2, progress=3, completed_on_ms=12_000, updated_ms=12_000, active=True)
CERTIFICATE = Announcement("certificate", "certificates", "LP.12000.x", (Origin("certificates", 0, 5, 13_000),))
AUDIT = Announcement("audit", "telemetry", "LP.AUDIT.y", ())


def trace(
    request: TracedRequest | None = REQUEST, row: CurrentEnrolment | None = COMPLETED, *events: Announcement
) -> Trace:
    enrolment = TracedEnrolment(KEY, row, CurrentAggregate(3.0, 11_900), events)
    return Trace("LP.10000.z", None, () if request is None else (request,), (enrolment,))


def told(request: TracedRequest, row: CurrentEnrolment | None = COMPLETED) -> str:
    (line,) = statements(trace(request, row))
    return line


def test_a_settled_request_and_everything_after_it_in_order() -> None:
    found = trace(REQUEST, COMPLETED, CERTIFICATE, AUDIT)
    assert timeline(found) == [
        Moment(10_000, "requested: input/1@42"),
        Moment(11_900, "course's aggregate written: completedCount 3.0"),
        Moment(12_000, "completed (completedon)"),
        Moment(12_000, "enrolment written: status 2, progress 3"),
        Moment(13_000, "certificate event LP.12000.x: certificates/0@5"),
    ]
    settled, certificate, audit = statements(found)
    assert settled == (
        "input/1@42: settled: the ledger no longer holds it; its row was written at 1970-01-01T00:00:12Z: "
        "status 2, progress 3"
    )
    assert certificate == "its certificate event is on certificates: certificates/0@5"
    assert audit.startswith("no audit event LP.AUDIT.y is on telemetry")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (None, "there is no enrolment row"),
        (replace(COMPLETED, updated_ms=9_000, completed_on_ms=9_000), "completed already at 1970-01-01T00:00:09Z"),
        (CurrentEnrolment(1, 2, None, 9_000, active=True), "was not written since (status 1, progress 2)"),
        (CurrentEnrolment(1, None, None, None, active=True), "was not written since (status 1, progress None)"),
    ],
)
def test_a_row_that_the_request_left_alone_is_told_as_such(row: CurrentEnrolment | None, words: str) -> None:
    assert words in told(REQUEST, row)


def test_a_replay_is_judged_by_when_it_was_first_sent() -> None:
    again = replace(REQUEST, is_repeated=True, first_ms=5_000)
    row = replace(COMPLETED, updated_ms=9_000, completed_on_ms=9_000)
    assert "its row was written at 1970-01-01T00:00:09Z" in told(again, row)
    assert timeline(trace(again))[0] == Moment(10_000, "requested: input/1@42, sent again")


def test_an_open_request_says_what_it_waits_for() -> None:
    open_ = replace(REQUEST, standing=Standing(Stage.OPEN, ENTRY))
    assert told(open_) == (
        "input/1@42: open: waiting; 2 attempts; 1 wait; RELATIONS_MISSING: no leaf nodes; next 1970-01-01T00:01:00Z"
    )
    assert Moment(11_000, "taken in as entry id") in timeline(trace(open_))
    joined = replace(REQUEST, standing=Standing(Stage.JOINED, replace(ENTRY, origin=Origin("input", 1, 40, 9_000))))
    assert "open: joined the earlier request at input/1@40, which is waiting; 2 attempts" in told(joined)
    assert "joined the earlier request" in told(replace(REQUEST, standing=Standing(Stage.JOINED)))


def test_one_that_is_not_taken_says_where_the_bridge_stands() -> None:
    waiting = replace(REQUEST, standing=Standing(Stage.ON_KAFKA), committed=40)
    assert "not taken yet: of this partition the bridge has committed offset 40" in told(waiting)
    assert "committed nothing" in told(replace(waiting, committed=None))


def test_one_that_was_given_up_says_why() -> None:
    event = failed_event(
        Record(ORIGIN, b"u", b'{"a":1}'), FinalFailure("RELATIONS_MISSING", "no leaf nodes", 6, 20_000), "f", 10**6
    )
    failure = read_failure(Record(Origin("failed", 0, 3, 21_000), event.key, event.value, event.headers))
    request = replace(REQUEST, failure=failure)
    line = "input/1@42: given up at 1970-01-01T00:00:20Z as RELATIONS_MISSING: no leaf nodes"
    assert told(request) == line
    assert Moment(20_000, "given up: RELATIONS_MISSING: no leaf nodes; failed/0@3") in timeline(trace(request))
    later = replace(request, origin=Origin("input", 1, 43, 15_000))
    assert "(with the request at 1@42, same enrolment)" in told(later)
    invalid = replace(request, standing=None, enrolment=None, problem="no value")
    assert told(invalid) == line
    assert "no request for us: no value" in told(replace(invalid, failure=None))


def test_an_event_s_own_mid_is_told_as_such() -> None:
    event = replace(CERTIFICATE, mid="LP.10000.z")
    found = replace(trace(None, COMPLETED, CERTIFICATE), event=event)
    assert "the mid is that of a certificate event, which announces another completion than the row carries now" in str(
        statements(found)
    )
    assert "no request of this learner for this enrolment was found" in statements(found)[-1]
    current = replace(trace(None, COMPLETED, event), event=event)
    assert "announces the completion that the row carries now" in str(statements(current))
    assert len([moment for moment in timeline(current) if "certificate" in moment.what]) == 1


def test_an_entry_that_is_given_up_or_owes_says_so() -> None:
    entry = replace(ENTRY, state="claimed", failure=FinalFailure("X", "", 1, 1), owed_ms=12_000, crashes=2)
    line = told_entry(entry)
    assert "given up as X, its failed event has not left yet" in line
    assert "owes the announcement of its completion at 1970-01-01T00:00:12Z" in line
    assert "2 crashes" in line
    assert "held until 1970-01-01T00:01:00Z" in line


LIFE = Identity("epoch", "run", "order")


@pytest.mark.parametrize(
    ("committed", "life", "taken"),
    [
        (None, LIFE, False),
        (Committed(None, None), LIFE, False),
        (Committed(42, CommitMark(LIFE, None).encode()), LIFE, False),
        (Committed(43, CommitMark(LIFE, None).encode()), LIFE, True),
        (Committed(43, CommitMark(replace(LIFE, rewind="other"), None).encode()), LIFE, True),
        (Committed(43, CommitMark(LIFE, None).encode()), replace(LIFE, epoch="new"), False),
        (Committed(43, CommitMark(LIFE, None).encode()), None, False),
        (Committed(43, ""), LIFE, True),
    ],
)
def test_what_is_committed_counts_only_for_the_same_life_of_the_ledger(
    committed: Committed | None, life: Identity | None, taken: bool
) -> None:
    assert is_taken(committed, 42, life) is taken
