"""What many tests ask of a learner after a reconciliation."""

from tests.support.events import check_audit, check_certificate
from tests.support.installation import Installation
from tests.support.tables import Learner


def check_announced_once(installation: Installation, learner: Learner) -> None:
    enrolment = installation.tables.enrolment(learner)
    assert enrolment is not None
    announced = installation.announced(learner)
    (certificate,), (audit,) = announced.certificates, announced.audits
    check_certificate(certificate, learner, enrolment["completedon"])
    check_audit(audit, learner)


def check_silent(installation: Installation, learner: Learner) -> None:
    announced = installation.announced(learner)
    assert announced.certificates == []
    assert announced.audits == []
    assert installation.failures(learner) == []


def progress_of(installation: Installation, learner: Learner) -> tuple[object, object, object]:
    row = installation.tables.enrolment(learner)
    assert row is not None
    return row["status"], row["progress"], row["contentstatus"]
