"""What an explanation says of an enrolment, whatever stands there."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciliation.certificate_reason import CertificateState
from reconciliation.comparison import AggregateRow, EnrolmentCells, LearnerRows
from reconciliation.course import Course
from reconciliation.errors import SearchUnavailable
from reconciliation.explanation import Role, explain
from reconciliation.explanation_facts import (
    EnrolmentDetails,
    Facts,
    LedgerFacts,
    OpenRequest,
    OtherEnrolment,
    Templates,
)
from reconciliation.explanation_verdict import moment, verdict
from reconciliation.model import (
    COMPLETED,
    CollectionStatus,
    Consumption,
    CourseRelations,
    EnrolmentKey,
    EnrolmentRow,
    Look,
)
from reconciliation.progress import Rules

KEY = EnrolmentKey("user", "course", "batch")
NOW_MS = 1_700_000_000_000
CONTENTS = ["a", "b", "c", "d"]
NODES = ["course", "unit1", "unit2"]
RELATIONS = CourseRelations(
    {"course": frozenset({"a", "b"}), "unit1": frozenset({"a", "b"})},
    {},
    {"a": frozenset({"course", "unit1"}), "b": frozenset({"course", "unit1"})},
)
REQUEST = OpenRequest("entry", "waiting", 2, 1, 0, 3, "RELATIONS_MISSING: …", NOW_MS, NOW_MS, NOW_MS + 9000)


def facts_of(statuses: dict[str, int], cells: EnrolmentCells | None, **changes: object) -> Facts:
    row = None if cells is None else EnrolmentRow(cells.status, cells.completed_on_ms, cells.status and 500, 900)
    look = Look(tuple(Consumption(*item) for item in statuses.items()), row)
    facts = Facts(
        enrolment=KEY,
        now_us=NOW_MS * 1000,
        rules=Rules(),
        rows=LearnerRows(look, cells),
        course=Course(RELATIONS),
        aggregates={},
    )
    return replace(facts, **changes)  # type: ignore[arg-type] # fields by name


enrolments = st.none() | st.builds(
    EnrolmentCells,
    st.sampled_from([None, 0, 1, 2, 7]),
    st.none() | st.sampled_from([0, NOW_MS, 10**17]),
    st.none() | st.integers(0, 5),
    st.none() | st.dictionaries(st.sampled_from(CONTENTS), st.integers(0, 2)),
)
relation_sets = st.builds(
    CourseRelations,
    st.dictionaries(st.sampled_from(NODES), st.frozensets(st.sampled_from(CONTENTS))),
    st.dictionaries(st.sampled_from(NODES), st.frozensets(st.sampled_from([*CONTENTS, "stale"]))),
    st.dictionaries(st.sampled_from(CONTENTS), st.frozensets(st.sampled_from(NODES))),
)
courses = st.builds(
    Course,
    relation_sets,
    st.none() | st.sampled_from(CollectionStatus),
    st.none() | st.just(SearchUnavailable("503")),
)
anything = st.builds(
    facts_of,
    st.dictionaries(st.sampled_from([*CONTENTS, "foreign"]), st.integers(-1, 3)),
    enrolments,
    course=courses,
    rules=st.builds(Rules, st.booleans(), st.booleans(), st.booleans()),
    aggregates=st.dictionaries(
        st.sampled_from(NODES),
        st.builds(AggregateRow, st.none() | st.integers(0, 4).map(float), st.none() | st.integers(0, NOW_MS)),
    ),
    details=st.builds(
        EnrolmentDetails,
        active=st.none() | st.booleans(),
        certificates=st.none() | st.just(()) | st.just(("Gold",)),
        issued_certificates=st.none() | st.just(()) | st.just(("Gold", "Silver")),
    ),
    templates=st.sampled_from(Templates),
    ledger=st.builds(
        LedgerFacts,
        st.lists(st.builds(replace, st.just(REQUEST), state=st.sampled_from(["waiting", "claimed"])), max_size=2).map(
            tuple
        ),
        st.none() | st.booleans(),
        st.none() | st.just("away"),
    ),
    is_search_set=st.booleans(),
)


@given(anything)
def test_whatever_stands_there_is_explained_without_contradiction(facts: Facts) -> None:
    explained = explain(facts)
    sentences = verdict(explained, facts)
    assert all(sentence.endswith((".", "…")) and "None" not in sentence for sentence in sentences)
    assert any("A sync would change nothing" in sentence for sentence in sentences) == (
        explained.effect.verdict is not None and not explained.effect.changes
    )
    assert explained.effect.announces == (explained.effect.why_silent == "")
    consumed = {row.content_id for row in facts.rows.look.consumption}
    leaf_nodes = facts.course.relations.leaf_nodes.get("course")
    assert {line.content_id for line in explained.contents} == consumed | (leaf_nodes or frozenset())
    assert explained.is_course_known == (leaf_nodes is not None)
    if leaf_nodes is None:
        assert {line.role for line in explained.contents} <= {Role.UNKNOWN}
    # what changes and what the aggregates' table shows are one
    shown = {it.activity_id: (it.found, it.expected) for it in explained.aggregates}
    for change in explained.effect.changes:
        if change.activity_id:
            assert shown[change.activity_id] == (change.before, change.after)


@given(anything)
def test_the_certificate_s_reason_fits_the_row(facts: Facts) -> None:
    reason = explain(facts).certificate
    cells = facts.rows.enrolment
    completed = cells is not None and cells.status == COMPLETED
    if not completed:
        assert reason.state in (CertificateState.NOT_COMPLETED, CertificateState.ISSUED)
        assert reason.mid is None
    if reason.state in (CertificateState.ANNOUNCED, CertificateState.UNKNOWN, CertificateState.OWED):
        assert completed
        assert reason.mid is not None
        assert reason.mid in reason.sentence


DONE = {"a": 2, "b": 2}
DONE_ROW = EnrolmentCells(2, NOW_MS - 5000, 2, DONE)


@pytest.mark.parametrize(
    ("cells", "changes", "state", "text"),
    [
        (DONE_ROW, {"details": EnrolmentDetails(issued_certificates=("Gold",))}, "ISSUED", "issued (Gold)."),
        (
            replace(DONE_ROW, status=1),
            {"details": EnrolmentDetails(certificates=("Gold",))},
            "ISSUED",
            "from an earlier completion",
        ),
        (replace(DONE_ROW, completed_on_ms=None), {}, "NO_COMPLETION_DATE", "a sync does not mend it"),
        (DONE_ROW, {"details": EnrolmentDetails(active=False)}, "INACTIVE", "ignores inactive ones"),
        (DONE_ROW, {"templates": Templates.NONE}, "NO_TEMPLATE", "no certificate template"),
        (DONE_ROW, {"ledger": LedgerFacts((replace(REQUEST, owed_ms=1),))}, "OWED", "still owed"),
        (DONE_ROW, {"ledger": LedgerFacts(is_paid=True)}, "ANNOUNCED", "Kafka confirmed it"),
        (DONE_ROW, {"ledger": LedgerFacts(is_paid=False)}, "UNKNOWN", "another job may have completed"),
        (DONE_ROW, {"ledger": LedgerFacts(away="gone")}, "UNKNOWN", "the ledger could not be asked"),
        (replace(DONE_ROW, completed_on_ms=5), {}, "UNKNOWN", "forgets that after 2 days"),
        (replace(DONE_ROW, status=1, completed_on_ms=None), {}, "NOT_COMPLETED", "a sync would ask for it"),
    ],
)
def test_why_there_is_a_certificate_or_none(
    cells: EnrolmentCells, changes: dict[str, object], state: str, text: str
) -> None:
    reason = explain(facts_of(DONE, cells, **changes)).certificate
    assert reason.state is CertificateState[state]
    assert text in reason.sentence


def told(facts: Facts) -> str:
    return "\n".join(verdict(explain(facts), facts))


def test_the_sentences_name_a_few_and_count_the_rest() -> None:
    many = frozenset(f"do_{number:02}" for number in range(20))
    course = Course(CourseRelations({"course": many}, {}, {}))
    text = told(facts_of({"do_00": 2, "do_01": 1}, EnrolmentCells(1, None, 1, None), course=course))
    assert "completed 1 of 20 required contents; do_01, do_02, do_03, do_04, do_05 and 14 more are still open" in text
    assert "(do_01 is in progress, do_02 was never opened" in text
    assert "do_06" not in text


def test_a_single_open_content_reads_as_one() -> None:
    text = told(facts_of({"a": 2}, EnrolmentCells(1, None, 0, None)))
    assert "b is still open (b was never opened)" in text
    assert (
        "A sync would set progress from 0 to 1, bring contentstatus up to date and correct 2 completed counts" in text
    )


def test_open_requests_and_other_batches_are_told() -> None:
    ledger = LedgerFacts((REQUEST, replace(REQUEST, state="claimed", clicks=1)))
    others = (OtherEnrolment("course", "b2", is_enrolled=True), OtherEnrolment("other", "b3", is_enrolled=True))
    text = told(facts_of({"a": 2}, None, ledger=ledger, others=others))
    assert "(3 clicks) is open after 2 failed tries and 1 wait, next looked at 2023-11-14 22:13:29 UTC" in text
    assert "is being worked on now" in text
    assert "other batches of this course: b2." in text


def test_a_pause_that_keeps_a_request_back_is_told() -> None:
    kept_back = replace(REQUEST, next_try_ms=None, paused="course course is paused")
    text = told(facts_of({"a": 2}, None, ledger=LedgerFacts((kept_back,))))
    assert "1 wait, kept back until `resume`, since course course is paused: RELATIONS_MISSING" in text


def test_a_clock_that_is_ahead_is_hinted_at() -> None:
    facts = facts_of({"a": 2}, DONE_ROW)
    row = EnrolmentRow(2, NOW_MS, 1, facts.now_us + 3_000_000)
    ahead = replace(facts, rows=replace(facts.rows, look=replace(facts.rows.look, enrolment=row)))
    assert any("a clock that is ahead" in hint for hint in explain(ahead).hints)
    assert not any("a clock that is ahead" in hint for hint in explain(facts).hints)


def test_a_time_that_no_calendar_holds_is_shown_as_it_is() -> None:
    assert moment(0) == "1970-01-01 00:00:00 UTC"
    assert moment(10**17) == "100000000000000000 ms"
