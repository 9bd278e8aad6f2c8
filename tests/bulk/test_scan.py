"""What a scan of real tables finds: exactly what a naive look at every single case says."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bulk.model import Reason, Selection, Slice
from bulk.reader_process import Done, Look, Spill
from bulk.ring import FIRST, LAST
from bulk.scan import Scan
from devstack.ports import Ports
from devstack.schema import AggregateLayout
from reconciliation.errors import SettingsError
from reconciliation.model import EnrolmentKey
from tests.bulk.cases import CONSUMPTION, ENROLMENT, STUCK, Expected, found_of, judged_of, key_of, tables, write
from tests.bulk.conftest import WHOLE, Filled, OpenScan, reader_of

NEVER = threading.Event()


def all_slices(scan: Scan, selection: Selection = STUCK, start_after: int | None = None) -> list[Slice]:
    return list(scan.slices(selection, start_after, NEVER))


def assert_whole(slices: Sequence[Slice], first: int = FIRST) -> None:
    """Insist that slices lie side by side from a token to the ring's end."""
    assert [it.tokens.after for it in slices] == [first, *(it.tokens.until for it in slices[:-1])]
    assert slices[-1].tokens.until == LAST


@pytest.mark.parametrize("layout", list(AggregateLayout))
def test_what_is_stuck_is_found_exactly(
    fill: Callable[[AggregateLayout], Filled], layout: AggregateLayout, open_scan: OpenScan, told: list[str]
) -> None:
    where = fill(layout)
    with open_scan(where) as scan:
        slices = all_slices(scan)
        assert_whole(slices)
        assert found_of(slices) == where.expected
        assert sum(it.looked_at for it in slices) == len(where.cases)
        assert scan.pids() == []
    assert told == []
    # the drawn cases have all there is
    assert {why for found in where.expected.reasons.values() for why in found} == {
        reason.value for reason in Reason if reason not in (Reason.SELECTED, Reason.NO_CERTIFICATE)
    }
    assert where.expected.unjudged


def test_slices_with_much_in_them_end_early_and_hold_everything(
    filled: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulk.looking._GROUP", 10)
    monkeypatch.setattr("bulk.looking._CONTENTS_A_SLICE", 30)
    with reader_of(filled.settings, tmp_path) as reader:
        (spilled,) = reader.answers(Spill(WHOLE, "counts"))
        assert isinstance(spilled, Done)
        *slices, done = reader.answers(Look(WHOLE, spilled.files))
    assert done == Done()
    given = [it for it in slices if isinstance(it, Slice)]
    assert_whole(given)
    assert found_of(given) == filled.expected
    # one group more than the bound, and whoever else is of its last learner
    assert len(given) > 5
    assert max(len(it.found) + len(it.unjudged) for it in given) < 40


def test_without_aggregates_only_these_are_left_out(filled: Filled, open_scan: OpenScan) -> None:
    with open_scan(filled, aggregates=False) as scan:
        found = found_of(all_slices(scan))
    rest = {key: why - {Reason.AGGREGATES.value} for key, why in filled.expected.reasons.items()}
    assert found == replace(filled.expected, reasons={key: why for key, why in rest.items() if why})


def test_a_run_goes_on_after_any_slice(filled: Filled, open_scan: OpenScan) -> None:
    with open_scan(filled, slice_size=7) as scan:
        slices = all_slices(scan)
        assert len(slices) > 64, "the ranges are cut further"
        assert found_of(slices) == filled.expected
        for at in (len(slices) // 3, len(slices) - 2):
            rest = all_slices(scan, start_after=slices[at].tokens.until)
            assert_whole(rest, slices[at].tokens.until)
            assert found_of(rest) == found_of(slices[at + 1 :])
        assert all_slices(scan, start_after=LAST) == []


def test_a_selection_narrows_what_is_found(filled: Filled, open_scan: OpenScan) -> None:
    rows = {key_of(case): case for case in filled.cases}
    some = next(case for case in filled.cases if key_of(case) in filled.expected.reasons)

    def narrowed(keep: Callable[[EnrolmentKey], bool]) -> Expected:
        expected = filled.expected
        found = {key: why for key, why in expected.reasons.items() if keep(key)}
        return Expected(found, {key for key in expected.unjudged if keep(key)})

    with open_scan(filled, processes=1) as scan:
        active = found_of(all_slices(scan, replace(STUCK, active_only=True, not_completed=True)))
        assert active == narrowed(lambda key: rows[key]["active"] is True and rows[key]["enrolment"]["status"] != 2)
        # one batch is read one by one
        assert found_of(all_slices(scan, replace(STUCK, batch_id=some["batch"]))) == narrowed(
            lambda key: key == key_of(some)
        )
        # and so is one learner, here the one with the most enrolments
        (user, count), *_ = Counter(key.user_id for key in rows).most_common(1)
        (looked,) = all_slices(scan, replace(STUCK, user_id=user))
        assert found_of([looked]) == narrowed(lambda key: key.user_id == user)
        assert looked.looked_at == count > 5
        assert all_slices(scan, replace(STUCK, user_id=user), looked.tokens.until) == []


def test_without_a_question_every_enrolment_of_the_selection_is_found(filled: Filled, open_scan: OpenScan) -> None:
    with open_scan(filled, processes=1) as scan:
        found = found_of(all_slices(scan, Selection()))
        assert found.reasons == {key_of(case): {Reason.SELECTED.value} for case in filled.cases}
        course = filled.cases[3]["course"]
        found = found_of(all_slices(scan, Selection(course_id=course)))
        assert found.reasons == {key_of(filled.cases[3]): {Reason.SELECTED.value}}


def test_named_enrolments_are_judged_one_by_one(filled: Filled, open_scan: OpenScan) -> None:
    keys = [key_of(case) for case in filled.cases]
    unknown = EnrolmentKey("nobody", "do_nothing", "batch")
    with open_scan(filled) as scan:
        *judgements, last = scan.judge([*keys, unknown], STUCK)
        assert judged_of(judgements) == filled.expected
        assert last is not None
        assert (last.enrolment, getattr(last, "why", "")) == (unknown, "there is no such enrolment")
        ((user, _),) = Counter(key.user_id for key in keys).most_common(1)
        assert scan.users_enrolments(user) == sorted(key for key in keys if key.user_id == user)
        assert scan.users_enrolments("nobody") == []


def test_a_learner_with_thousands_of_enrolments_is_one_slice(
    fill: Callable[[AggregateLayout], Filled], ports: Ports, open_scan: OpenScan
) -> None:
    where = fill(AggregateLayout.USER_IN_PARTITION)
    busy, course = "a-busy-learner", where.cases[0]["course"]
    leaves = sorted(where.cases[0]["relations"].get(f"{course}:{course}:leafnodes", {"do_x"}))
    with tables(ports, where.keyspace) as connected:
        ids = [(busy, f"do_other{number % 30}", f"batch{number}") for number in range(3_000)]
        write(connected, ENROLMENT, [(*each, 1, None, 0, None, True) for each in ids])
        # more contents than any course has
        too_many = (busy, course, "crowded")
        write(connected, ENROLMENT, [(*too_many, 1, None, 0, None, True)])
        contents = [*leaves, *(f"do_content{number}" for number in range(20_001))]
        write(connected, CONSUMPTION, [(*too_many, content, 2) for content in contents])
    with open_scan(where, slice_size=100, consumption_a_page=500) as scan:
        slices = all_slices(scan)
        found = found_of(slices)
    assert found.reasons == where.expected.reasons
    assert found.unjudged == where.expected.unjudged | {EnrolmentKey(*too_many)}
    (why,) = [it.why for looked in slices for it in looked.unjudged if it.enrolment == EnrolmentKey(*too_many)]
    assert "more than 20000 contents" in why
    assert max(it.looked_at for it in slices) > 3_000
    assert_whole(slices)


def test_missing_certificates_are_found_where_the_batch_has_templates(
    fill: Callable[[AggregateLayout], Filled], ports: Ports, open_scan: OpenScan
) -> None:
    where = fill(AggregateLayout.USER_IN_CLUSTERING)
    selection = Selection(missing_certificates=True)
    with open_scan(where) as scan, pytest.raises(SettingsError, match=r"no table course_batch with batchid"):
        all_slices(scan, selection)
    done = [case for case in where.cases if case["enrolment"]["status"] == 2 and case["enrolment"]["completedon"]]
    issued, unknown, empty, with_templates = done[0], done[1], done[2], done[3:]
    with tables(ports, where.keyspace) as connected:
        connected.execute(
            "CREATE TABLE course_batch (courseid text, batchid text, "
            "cert_templates map<text, frozen<map<text, text>>>, PRIMARY KEY (courseid, batchid))"
        )
        insert = "INSERT INTO course_batch (courseid, batchid, cert_templates) VALUES (?, ?, ?)"
        # without a row: `unknown`; without templates: `empty`
        rows = [(case["course"], case["batch"], {"t1": {"name": "x"}}) for case in (issued, *with_templates)]
        write(connected, insert, [*rows, (empty["course"], empty["batch"], None)])
        update = "UPDATE user_enrolments SET issued_certificates = ? WHERE userid = ? AND courseid = ? AND batchid = ?"
        write(connected, update, [([{"name": "c"}], issued["user"], issued["course"], issued["batch"])])
    expected = {key_of(case) for case in with_templates if case["active"] is True}
    assert expected
    assert unknown is not empty
    with open_scan(where) as scan:
        found = found_of(all_slices(scan, selection))
        assert found == Expected({key: {Reason.NO_CERTIFICATE.value} for key in expected}, set())
        judged = judged_of(scan.judge([key_of(case) for case in where.cases], selection))
        assert judged == found
        both = found_of(all_slices(scan, replace(selection, stuck=True)))
        all_keys = expected | set(where.expected.reasons)
        assert both.reasons == {
            key: where.expected.reasons.get(key, set()) | ({Reason.NO_CERTIFICATE.value} if key in expected else set())
            for key in all_keys
        }
        assert both.unjudged == where.expected.unjudged - expected
    century_ms = 100 * 365 * 86_400_000
    with open_scan(where, certificate_older_than_ms=century_ms) as scan:
        assert judged_of(scan.judge(sorted(expected), selection)) == Expected({}, set())


def test_a_scan_that_is_stopped_gives_whole_slices_only(filled: Filled, open_scan: OpenScan) -> None:
    stop = threading.Event()
    slices = []
    with open_scan(filled, slice_size=7, processes=1) as scan:
        for looked in scan.slices(STUCK, None, stop):
            slices.append(looked)
            if len(slices) == 3:
                stop.set()
                pids = scan.pids()
        assert pids
        assert scan.pids() == []
        assert len(slices) < 64
        rest = all_slices(scan, start_after=slices[-1].tokens.until)
    assert found_of([*slices, *rest]) == filled.expected


def test_a_rate_is_kept(filled: Filled, open_scan: OpenScan) -> None:
    began = time.monotonic()
    with open_scan(filled, most_per_second=100.0, aggregates=False) as scan:
        assert found_of(all_slices(scan)).unjudged == filled.expected.unjudged
    # 400 enrolments by two processes, of which each may begin with a second's worth
    assert time.monotonic() - began > 400 / 100 - 2


def test_a_rate_is_kept_for_enrolments_that_are_named_too(filled: Filled, open_scan: OpenScan) -> None:
    keys = [key_of(it) for it in filled.cases]
    began = time.monotonic()
    with open_scan(filled, most_per_second=100.0) as scan:
        for at in range(0, 400, 100):
            scan.judge(keys[at : at + 100], Selection())
    # the first hundred at once, each of the others a second later
    assert time.monotonic() - began > 2
