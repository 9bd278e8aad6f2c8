"""The suite's own judge: it sees every kind of harm that it is there to see."""

from datetime import UTC, datetime

import pytest

from tests.faults.conftest import MakeSite
from tests.faults.load import Load
from tests.faults.plan import Kind
from tests.faults.site import PATIENT, Site
from tests.support.events import certificate_learner, encoded
from tests.support.kafka import Sender
from tests.support.tables import Learner

LEARNERS = 60


@pytest.fixture
def done(make_site: MakeSite, seed: int) -> tuple[Site, Load]:
    """A load that was answered without any harm."""
    site = make_site(PATIENT, workers=1)
    load = Load(seed, LEARNERS).prepare(site)
    load.send_all(site)
    site.start().wait_settled(120)
    return site, load


def _of_kind(load: Load, *kinds: Kind) -> list[Learner]:
    return [it.learner for it in load.planned if it.kind in kinds]


def test_it_sees_nothing_where_nothing_is_wrong(done: tuple[Site, Load]) -> None:
    site, load = done
    verdict = load.verdict(site)
    verdict.check()
    assert verdict.repeated == ()
    assert verdict.completions == len(_of_kind(load, Kind.COMPLETE, Kind.BUT_OPTIONAL)) > LEARNERS / 3
    assert verdict.certificates == verdict.completions


def test_it_sees_requests_that_nobody_answered(make_site: MakeSite, seed: int) -> None:
    site = make_site()
    load = Load(seed, LEARNERS).prepare(site)
    load.send_all(site)
    verdict = load.verdict(site)
    missed = _of_kind(load, Kind.COMPLETE, Kind.BUT_OPTIONAL, Kind.IN_PROGRESS)
    assert verdict.lost == tuple(sorted(missed))
    with pytest.raises(AssertionError, match=f"{len(missed)} lost"):
        verdict.check()


def test_it_sees_harm_of_each_kind(done: tuple[Site, Load]) -> None:
    site, load = done
    load.observe(site)
    downgraded, moved, repeated, forged, *_ = _of_kind(load, Kind.COMPLETE)
    progressing, *_ = _of_kind(load, Kind.IN_PROGRESS)
    site.tables.add_enrolments([downgraded], status=1)
    site.tables.add_enrolments([moved], completedon=datetime(2024, 1, 1, tzinfo=UTC))
    events = {certificate_learner(record): record.event for record in site.certificates.records()}
    failure = {"edata": {"userId": repeated.user, "courseId": repeated.course, "batchId": repeated.batch}}
    certificates, failed = (
        Sender(site.ports.bootstrap, site.certificate_topic),
        Sender(site.ports.bootstrap, site.failed_topic),
    )
    certificates.send(
        (b"", encoded(event))
        for event in (
            events[repeated],
            {**events[forged], "mid": events[forged]["mid"][:-1] + "x"},
            {
                **events[forged],
                "edata": {
                    **events[forged]["edata"],
                    "userIds": [progressing.user],
                    "courseId": progressing.course,
                    "batchId": progressing.batch,
                },
            },
        )
    )
    failed.send([(b"", encoded({**failure, "failInfo": {"errorCode": "WHY"}}))])

    verdict = load.verdict(site)
    assert set(verdict.downgraded) == {downgraded, moved}
    assert set(verdict.lost) == {downgraded, moved}
    assert set(verdict.mismatched) == {moved, forged, progressing}
    assert dict(verdict.repeated) == {repeated: 1, forged: 1}
    assert verdict.unexpected == (progressing,)
    assert verdict.dead_lettered == ((repeated, "WHY"),)
    assert len(verdict.differing) == 2
    with pytest.raises(AssertionError, match="1 unexpected"):
        verdict.check()
