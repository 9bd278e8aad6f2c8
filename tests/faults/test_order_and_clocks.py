"""Writes that land late, other jobs that write the same rows, and clocks that differ: the rows end right all the same.

What another job writes carries its own timestamp (docs/reliability.md, same result in any order).
"""

from collections.abc import Iterator

import pytest

from tests.faults.conftest import MakeSite
from tests.faults.site import PATIENT
from tests.faults.stage import CONTENTS, LIMIT, SETTINGS, Stage, now_us
from tests.support.cassandra_proxy import Matches, aggregate_write, completion_write, enrolment_write
from tests.support.checks import check_announced_once, check_silent, progress_of
from tests.support.events import check_certificate
from tests.support.installation import new_learner, unique
from tests.support.relations import course_of_units
from tests.support.relay import Treatment
from tests.support.tables import Learner
from tests.support.waiting import wait_until

ALL = len(CONTENTS)
#: When another job completed the learner, in milliseconds: long before anything that we write.
FOREIGN_MS = 1_700_000_000_000
#: Behind everything that an attempt stamps which began just now, on a slow machine, too.
LONG_US = 600_000_000
SKEWS = pytest.mark.parametrize(
    "skew", [-5_000_000, 0, 5_000_000], ids=["clock 5 s behind", "clocks agree", "clock 5 s ahead"]
)


@pytest.fixture
def stage(shared_stage: Stage) -> Iterator[Stage]:
    """A stage whose far worker runs."""
    if not shared_stage.far.is_running:
        shared_stage.far.start()
    yield shared_stage
    shared_stage.near.kill()
    # a test that failed may have left it frozen
    shared_stage.far.thaw()


def _complete_as_another_job(stage: Stage, learner: Learner, skew_us: int) -> None:
    """Complete the learner now, by a clock that is so far ahead (or behind) of ours."""
    stage.site.tables.set_cells(learner, now_us() + skew_us, status=2, completedon=FOREIGN_MS, datetime=FOREIGN_MS)


def _begin_as_another_job(stage: Stage, learner: Learner, skew_us: int) -> None:
    """Write what that job computed from a look at a learner who had completed nothing yet."""
    stage.site.tables.set_cells(
        learner,
        now_us() + skew_us,
        status=1,
        progress=0,
        contentstatus=dict.fromkeys(CONTENTS, 1),
        datetime=FOREIGN_MS,
    )


@pytest.mark.parametrize("status", [1, 0, None], ids=["status 1", "status 0", "no status"])
@pytest.mark.parametrize("completed", [1, ALL], ids=["from an older look", "of the same completion"])
@pytest.mark.parametrize("held", [aggregate_write, enrolment_write], ids=["aggregates", "the enrolment"])
def test_what_an_older_attempt_writes_late_changes_nothing(
    stage: Stage, held: Matches, completed: int, status: int | None
) -> None:
    learner = stage.add_learner(completed=completed, status=status)
    ended = stage.attempts_ended(stage.far)
    with stage.cassandra.fault(Treatment.HOLD_REQUEST, held, most=1) as fault:
        stage.site.send(learner)
        fault.wait(limit=LIMIT)
        stage.far.freeze()
        owed = stage.owed_on()
        stage.complete(learner)

        stage.near.start()
        stage.wait_settled()
        before = stage.check_completed_once(learner)
        assert owed in {None, before["completedon"]}
        times = stage.site.tables.write_times(learner)

    wait_until("the late write answered", lambda: fault.seen[0] in stage.cassandra.answered, LIMIT)
    assert stage.check_completed_once(learner) == before
    stage.far.thaw()
    wait_until("the older attempt's end", lambda: stage.attempts_ended(stage.far) > ended, LIMIT)

    # an older attempt that was about to complete the learner may announce it, too: under the same mid
    assert stage.check_completed(learner) == before
    assert stage.site.tables.write_times(learner) == times
    assert stage.site.leftovers() == []


def test_a_click_while_a_worker_is_frozen_makes_no_second_completion(stage: Stage) -> None:
    learner = stage.add_learner()
    stage.overtake_a_frozen_completion(learner, clicks=2)
    stage.check_completed_once(learner)


def test_two_workers_and_many_clicks_for_one_enrolment_complete_it_once(make_site: MakeSite) -> None:
    site = make_site({**PATIENT, "BRIDGE_GROUP_SIZE": "1", "WORKER_THREADS": "8"}, workers=2)
    course = unique("do")
    learners = [new_learner(course) for _ in range(4)]
    site.relations.fill(course_of_units(course, {unique("unit"): {"a", "b"}}))
    site.tables.add_consumption({learner: {"a": 2, "b": 2} for learner in learners})
    site.tables.add_enrolments(learners)
    site.start()
    seen: dict[Learner, set[int]] = {learner: set() for learner in learners}

    for _ in range(15):
        site.send(*learners * 10)
        for learner in learners:
            row = site.tables.enrolment(learner)
            assert row is not None
            if row["completedon"] is not None:
                seen[learner].add(row["completedon"])
    site.wait_settled(LIMIT)

    for learner in learners:
        assert progress_of(site, learner) == (2, 2, {"a": 2, "b": 2})
        check_announced_once(site, learner)
        row = site.tables.enrolment(learner)
        assert row is not None
        assert seen[learner] <= {row["completedon"]}
    assert site.failed.records() == []


@pytest.mark.parametrize("status", [1, 0, None], ids=["status 1", "status 0", "no status"])
@SKEWS
def test_a_foreign_completion_between_our_read_and_our_write_is_not_downgraded(
    stage: Stage, skew: int, status: int | None
) -> None:
    learner = stage.add_learner(completed=1, status=status)
    with stage.cassandra.fault(Treatment.HOLD_REQUEST, enrolment_write, most=1) as fault:
        stage.site.send(learner)
        fault.wait(limit=LIMIT)
        _complete_as_another_job(stage, learner, skew)
    stage.wait_settled()

    row = stage.row(learner)
    assert (row["status"], row["completedon"]) == (2, FOREIGN_MS)
    assert stage.site.tables.completed_counts(learner)[learner.course] == 1.0
    # whoever completes announces
    check_silent(stage.site, learner)


def test_a_foreign_completion_swallows_ours_and_keeps_its_time(stage: Stage) -> None:
    learner = stage.add_learner()
    with stage.cassandra.fault(Treatment.HOLD_REQUEST, completion_write, most=1) as fault:
        stage.site.send(learner)
        fault.wait(limit=LIMIT)
        _complete_as_another_job(stage, learner, 0)
    stage.wait_settled()

    row = stage.row(learner)
    assert (row["status"], row["completedon"]) == (2, FOREIGN_MS)
    # ours is what no reader ever saw, so nobody may hear of it
    check_silent(stage.site, learner)


def test_a_foreign_completion_of_a_clock_behind_gives_way_to_ours_whole(stage: Stage) -> None:
    learner = stage.add_learner()
    with stage.cassandra.fault(Treatment.HOLD_REQUEST, completion_write, most=1) as fault:
        stage.site.send(learner)
        fault.wait(limit=LIMIT)
        owed = stage.owed_on()
        _complete_as_another_job(stage, learner, -LONG_US)
    stage.wait_settled()

    assert stage.check_completed_once(learner)["completedon"] == owed


@SKEWS
def test_a_foreign_status_1_before_the_reading_back_is_completed_anew(stage: Stage, skew: int) -> None:
    learner = stage.add_learner()
    with stage.cassandra.fault(Treatment.HOLD_REQUEST, stage.reads_back(learner), most=1) as fault:
        stage.site.send(learner)
        fault.wait(limit=LIMIT)
        owed = stage.owed_on()
        _begin_as_another_job(stage, learner, skew)
        assert stage.site.announced(learner).certificates == []
    stage.wait_settled()

    assert stage.check_completed_once(learner)["completedon"] == owed


def test_a_foreign_status_1_after_the_reading_back_is_mended_by_the_next_click(stage: Stage) -> None:
    learner = stage.add_learner()
    with stage.cassandra.fault(Treatment.HOLD_ANSWER, stage.reads_back(learner), most=1) as fault:
        stage.site.send(learner)
        fault.wait(limit=LIMIT)
        owed = stage.owed_on()
        _begin_as_another_job(stage, learner, 0)
    stage.wait_settled()
    # the completion was durable when it was announced; nothing looks again until the learner asks
    (first,) = stage.site.announced(learner).certificates
    check_certificate(first, learner, owed or 0)
    assert (stage.row(learner)["status"], stage.row(learner)["completedon"]) == (1, owed)

    stage.site.sync(learner, limit=LIMIT)

    row = stage.row(learner)
    assert progress_of(stage.site, learner) == (2, ALL, dict.fromkeys(CONTENTS, 2))
    certificates = [it for it in stage.site.announced(learner).certificates if it.value != first.value]
    (second,) = certificates
    check_certificate(second, learner, row["completedon"])


@pytest.mark.parametrize("completed", [1, ALL], ids=["in progress", "completed"])
@pytest.mark.parametrize("status", [1, 0], ids=["status 1", "status 0"])
@SKEWS
def test_a_row_of_a_host_whose_clock_differs_ends_right(stage: Stage, skew: int, status: int, completed: int) -> None:
    learner = stage.add_learner(completed=completed)
    stage.site.tables.set_cells(
        learner, now_us() + skew, status=status, progress=0, contentstatus={"a": 1}, datetime=FOREIGN_MS
    )
    stage.site.sync(learner, limit=LIMIT)

    if completed == ALL:
        stage.check_completed_once(learner)
    else:
        assert progress_of(stage.site, learner) == (1, completed, {"a": 2, "b": 1})
        check_silent(stage.site, learner)
    assert stage.row(learner)["datetime"] > FOREIGN_MS


@pytest.mark.parametrize("lost", [(completion_write,), (aggregate_write, completion_write)], ids=["one", "both"])
def test_a_write_that_timed_out_but_was_applied_is_no_failure(make_site: MakeSite, lost: tuple[Matches, ...]) -> None:
    with Stage(make_site({**SETTINGS, "LMS_CASSANDRA_TIMEOUT": "2"}, workers=1)) as stage:
        learner = stage.add_learner()
        stage.far.start()
        faults = [stage.cassandra.fault(Treatment.DROP_ANSWER, matches, most=1) for matches in lost]
        stage.site.send(learner)
        faults[-1].wait(limit=LIMIT)
        owed = stage.row(learner)["completedon"]
        assert owed is not None
        stage.wait_settled()

        assert stage.check_completed_once(learner)["completedon"] == owed
        stage.far.end()
