"""A broker that hangs while the ledger's Redis does not: workers go on taking messages when it is back."""

import pytest

from devstack.ports import Ports
from tests.faults.conftest import MakeSite
from tests.faults.poisonous import innocents_and
from tests.faults.servers import keep
from tests.support.redis_proxy import RedisProxy
from tests.support.relay import Treatment
from tests.support.run import is_rabbitmq

LIMIT = 90.0
#: Longer than all that is asked of it may take, twice.
HANGS_SECONDS = 25.0


@pytest.mark.skipif(is_rabbitmq(), reason="it is Redis' client that is asked for more after a lost acknowledgement")
def test_a_worker_whose_broker_hung_takes_messages_again(make_site: MakeSite, ports: Ports) -> None:
    with RedisProxy(ports.redis) as broker:
        settings = {
            "CELERY_BROKER_URL": broker.url,
            "LEDGER_REDIS_URL": ports.redis_url(0),
            "REDIS_TIMEOUT": "2",
            "BRIDGE_GROUP_SIZE": "1",
            # each acknowledgement that was not answered cost the worker one of so many
            "WORKER_THREADS": "1",
        }
        site = make_site(settings, workers=1)
        learners, _ = innocents_and(site, [], innocents=150)
        site.start()
        site.send(*learners[:1])
        site.wait_settled(LIMIT)
        site.send(*learners[1:])
        site.wait_for("the worker is busy", lambda: site.claimed_count() > 0, LIMIT)
        with broker.fault(Treatment.HOLD_REQUEST, lambda _command: True):
            keep(site, HANGS_SECONDS)
        site.wait_settled(LIMIT)
        assert len(site.certificates.records()) >= len(learners)
        assert site.restarts.total() == 0
