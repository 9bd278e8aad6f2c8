"""A Cassandra that answers reads and takes no writes, as one does whose disks are full: an outage, no failure."""

import pytest

from devstack.ports import Ports
from tests.faults.conftest import MakeSite
from tests.faults.poisonous import innocents_and
from tests.faults.site import PATIENT
from tests.support.cassandra_proxy import (
    OVERLOADED,
    WRITE_TIMEOUT,
    CassandraProxy,
    Request,
    any_write,
    completion_write,
)
from tests.support.relay import Treatment
from tests.support.waiting import wait_until

LIMIT = 120.0
SETTINGS = {"RETRY_ATTEMPTS": "2", "RETRY_BACKOFF_FIRST": "0.1", "RETRY_BACKOFF_MOST": "0.2"}


@pytest.mark.parametrize("code", [OVERLOADED, WRITE_TIMEOUT], ids=["overloaded", "write time-out"])
def test_while_no_write_is_taken_requests_wait_and_spend_nothing(make_site: MakeSite, ports: Ports, code: int) -> None:
    with CassandraProxy(ports.cassandra, error=code) as proxy:
        site = make_site({**PATIENT, **SETTINGS, **proxy.settings}, workers=1)
        learners, _ = innocents_and(site, [], innocents=60)
        with proxy.fault(Treatment.REFUSE, any_write):
            site.start()
            site.send(*learners)
            # each of them more often than a failing request would be tried
            wait_until(
                "all have met the outage again and again",
                lambda: len(site.spent()) == 60 and all(waits > 3 for _, waits in site.spent()),
                LIMIT,
            )
            assert {attempts for attempts, _ in site.spent()} == {0}
        site.wait_settled(LIMIT)
        assert site.failed.records() == []
        assert len(site.certificates.records()) == 60


def test_one_learner_whose_writes_fail_spends_attempts(make_site: MakeSite, ports: Ports) -> None:
    with CassandraProxy(ports.cassandra) as proxy:
        site = make_site({**PATIENT, **SETTINGS, **proxy.settings}, workers=1)
        learners, _ = innocents_and(site, [], innocents=30)
        broken = learners[7]

        def is_theirs(request: Request) -> bool:
            return completion_write(request) and request.names(broken.user)

        with proxy.fault(Treatment.REFUSE, is_theirs):
            site.start()
            site.send(*learners)
            site.wait_settled(LIMIT)
        (failed,) = site.failures(broken)
        assert failed["failInfo"]["errorCode"] == "STORE_UNAVAILABLE"
        assert failed["failInfo"]["attempts"] == 2
        assert len(site.certificates.records()) == 29
