"""How records are sorted, and what may be let go of."""

from hypothesis import given
from hypothesis import strategies as st

from bridge.intake import Backlog, sort_record
from reconciliation.model import FinalFailure, Origin, Record, SyncRequest
from reconciliation.requests import request_id

REQUEST = b'{"edata":{"action":"User-Enrolment-Sync","userId":"u","courseId":"c","batchId":"b"}}'
OTHER = b'{"edata":{"action":"other"}}'
NOW_MS = 1_700_000_000_000


def record(partition: int, offset: int, value: bytes | None = REQUEST) -> Record:
    return Record(Origin("topic", partition, offset, 5), b"key", value)


def filled(*records: Record) -> Backlog:
    backlog = Backlog()
    for each in records:
        backlog.add(each, sort_record(each, repeated=False, now_ms=NOW_MS))
    return backlog


def test_a_request_carries_its_id_and_whether_it_may_be_a_repeat() -> None:
    first = sort_record(record(0, 7), repeated=False, now_ms=NOW_MS)
    again = sort_record(record(0, 7), repeated=True, now_ms=NOW_MS)
    assert isinstance(first, SyncRequest)
    assert isinstance(again, SyncRequest)
    assert first.entry_id == again.entry_id == request_id(record(0, 7).origin)
    assert (first.repeated, again.repeated) == (False, True)


def test_a_replayed_request_stays_a_repeat() -> None:
    replayed = Record(Origin("topic", 0, 7, 5), None, REQUEST, (("enrolment-reconciliation-repeated", b"1"),))
    work = sort_record(replayed, repeated=False, now_ms=NOW_MS)
    assert isinstance(work, SyncRequest)
    assert work.repeated


def test_other_actions_ask_for_nothing() -> None:
    assert sort_record(record(0, 1, OTHER), repeated=False, now_ms=NOW_MS) is None


def test_garbage_is_a_final_failure_at_once() -> None:
    work = sort_record(record(0, 1, b"{"), repeated=False, now_ms=NOW_MS)
    assert isinstance(work, FinalFailure)
    assert (work.code, work.attempts, work.failed_at_ms) == ("INVALID_REQUEST", 1, NOW_MS)


def test_only_what_precedes_the_first_open_record_is_let_go() -> None:
    skipped, request, garbage, later = record(0, 1, OTHER), record(0, 2), record(0, 3, b"{"), record(0, 4, OTHER)
    elsewhere = record(1, 9)
    backlog = filled(skipped, request, garbage, later, elsewhere)
    assert [each.record for each in backlog.requests()] == [request, elsewhere]
    assert [each for each, _ in backlog.failures()] == [garbage]

    backlog.done([garbage, elsewhere])
    assert backlog.shed() == {0: 2, 1: 10}
    assert backlog.failures() == []
    assert len(backlog) == 3

    backlog.done([request])
    assert backlog.shed() == {0: 5}
    assert len(backlog) == 0
    assert backlog.shed() == {}


def test_a_partition_that_left_takes_its_records_along() -> None:
    backlog = filled(record(0, 1), record(1, 1), record(0, 2))
    backlog.drop([0])
    assert [each.record.origin.partition for each in backlog.requests()] == [1]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from([REQUEST, OTHER, b"{"]), st.booleans()), max_size=30),
    st.data(),
)
def test_no_open_record_is_ever_passed(made: list[tuple[int, bytes, bool]], data: st.DataObject) -> None:
    records = [record(partition, offset, value) for offset, (partition, value, _) in enumerate(made)]
    backlog = filled(*records)
    open_ones = {each.origin.offset for each in records if each.value != OTHER}
    while open_ones:
        finished = data.draw(st.sets(st.sampled_from(sorted(open_ones)), min_size=1))
        open_ones -= finished
        backlog.done([records[offset] for offset in finished])
        for partition, offset in backlog.shed().items():
            assert all(each not in open_ones for each in range(offset) if made[each][0] == partition)
    backlog.shed()
    assert len(backlog) == 0
