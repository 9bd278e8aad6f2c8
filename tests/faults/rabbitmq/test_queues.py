"""RabbitMQ's queues as they are declared, and what they do to messages: limits, redelivery, refusals."""

import json
from pathlib import Path

import pytest

from devstack.ports import HOST
from devstack.rabbitmq import RabbitMqServer
from tests.faults.broker import queue_of
from tests.faults.conftest import MakeSite
from tests.faults.load import Load
from tests.faults.poisonous import POISON, innocents_and
from tests.faults.site import UP_LIMIT
from tests.faults.test_twice_at_once import SLOW
from tests.integration.test_check_command import rows_of, run
from tests.support.broker import channel
from tests.support.certificates import certificates_in
from tests.support.tls_proxy import TlsProxy

LIMIT = 120.0
REFUSED = "delete the queue"
DELIVERY_LIMIT = 5


def test_what_is_declared_is_durable_and_copied_and_nothing_else_is(
    make_site: MakeSite, rabbitmq: RabbitMqServer
) -> None:
    site = make_site(workers=1)
    learners, _ = innocents_and(site, [], innocents=10)
    site.send(*learners)
    site.start().wait_settled(LIMIT)

    told = json.loads(rabbitmq.control("list_queues", "name", "type", "durable", "arguments", "--formatter", "json"))
    (ours,) = (it for it in told if it["name"] == site.group_id)
    assert (ours["type"], ours["durable"]) == ("quorum", True)
    assert ["x-delivery-limit", "signedint", DELIVERY_LIMIT] in ours["arguments"]
    # nothing is made for delays, which we never ask for
    assert [it["name"] for it in told if "delayed" in it["name"]] == []
    # the bridge's own channel waits for RabbitMQ's word
    confirming = rabbitmq.control("list_channels", "confirm", "--formatter", "json")
    assert [it["confirm"] for it in json.loads(confirming)].count(True) == 1
    site.stop(site.worker)
    site.send(learners[0])
    site.wait_accepted(UP_LIMIT)
    (message,) = queue_of(site).messages()
    assert json.loads(message)["properties"]["delivery_mode"] == 2


@pytest.mark.timeout(600)
def test_a_queue_that_was_made_otherwise_is_told_of_until_it_is_deleted(make_site: MakeSite, seed: int) -> None:
    site = make_site(workers=1)
    load = Load(seed, 50, clicks=1).prepare(site)
    with channel(site.settings["CELERY_BROKER_URL"]) as ours:
        ours.queue_declare(site.group_id, durable=True, auto_delete=False)
    load.send_all(site)
    site.start()
    for process in site.processes:
        site.wait_for(f"the {process.name} says so", lambda told=process.output: REFUSED in told(), LIMIT)
    (first, *_) = (line for line in site.bridge.output().splitlines() if REFUSED in line)
    assert "x-queue-type" in first
    assert site.group_id in first
    row = rows_of(run(site))["Celery's broker", "queue"]
    assert (row["state"], REFUSED in row["next_step"]) == ("wrong", True)
    with channel(site.settings["CELERY_BROKER_URL"]) as ours:
        ours.queue_delete(site.group_id)
    site.wait_settled(LIMIT)

    load.verdict(site).check()
    assert site.restarts.total() == 0
    assert site.worker.output().count(REFUSED) < 30
    assert "Traceback" not in site.worker.output()


def test_a_worker_holds_no_more_messages_than_it_has_threads(make_site: MakeSite, tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    settings = {"PYTHONPATH": POISON, "WORKER_THREADS": "2", "BRIDGE_GROUP_SIZE": "1", "POISON_WAITS_FOR": str(hold)}
    site = make_site({**settings, "LEDGER_LEASE": "30", "LEDGER_SWEEP_AFTER": "600"})
    innocent, busy = innocents_and(site, ["waits"] * 4, innocents=20)
    site.start()
    site.send(*busy)
    site.wait_for("both workers are busy", lambda: site.claimed_count() == 4, LIMIT)
    site.send(*innocent)
    site.wait_accepted(UP_LIMIT)
    queue = queue_of(site)
    # RabbitMQ counts anew every few seconds
    site.wait_for("RabbitMQ's count", lambda: (queue.unacknowledged(), len(queue)) == (4, 20), LIMIT)
    hold.unlink()
    site.wait_settled(LIMIT)
    assert len(site.certificates.records()) == 24


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("soon_impatient")
def test_an_attempt_longer_than_rabbitmq_waits_for_is_done_once(make_site: MakeSite, seed: int, tmp_path: Path) -> None:
    # the lease is kept, and no sweep sends anything anew: what comes again, RabbitMQ brings again
    site = make_site({"LEDGER_LEASE": "30", "LEDGER_SWEEP_AFTER": "600"}, workers=1)
    load = Load(seed, 60).prepare(site)
    file = tmp_path / "stays"
    file.touch()
    slow = [site.add_worker(SLOW, {"FAULT_STEP": "before the events", "FAULT_FILE": str(file)}) for _ in range(2)]
    load.send_all(site)
    site.run(site.bridge, *slow)
    site.wait_accepted(UP_LIMIT)
    site.wait_for(
        "RabbitMQ takes a message back",
        lambda: any("delivery acknowledgement" in process.output() for process in slow),
        UP_LIMIT,
    )
    assert site.open_count() > 0
    file.unlink()
    site.wait_settled(180)

    verdict = load.verdict(site)
    verdict.check()
    assert verdict.repeated == ()
    assert site.restarts.total() == 0


def test_a_message_that_comes_back_too_often_is_dropped_and_its_requests_are_not(
    make_site: MakeSite, seed: int
) -> None:
    site = make_site({"LEDGER_SWEEP_AFTER": "15", "BRIDGE_GROUP_SIZE": "25"}, workers=1)
    load = Load(seed, 20, clicks=1).prepare(site)
    load.send_all(site)
    site.run(site.bridge)
    site.wait_accepted(UP_LIMIT)
    # its sweep would send more messages meanwhile
    site.stop(site.bridge)
    with channel(site.settings["CELERY_BROKER_URL"]) as ours:
        returned = 0
        while (message := ours.basic_get(site.group_id)) is not None:
            ours.basic_reject(message.delivery_tag, requeue=True)
            returned += 1
            # one whose limit is reached may be shown for a moment more
            assert returned <= 30 * DELIVERY_LIMIT
    assert returned > DELIVERY_LIMIT
    assert len(queue_of(site)) == 0
    assert site.open_count() == 20
    site.run(site.bridge, site.worker)
    site.wait_settled(LIMIT)

    load.verdict(site).check()


def test_a_user_and_a_vhost_of_its_own_over_tls(
    make_site: MakeSite, seed: int, rabbitmq: RabbitMqServer, tmp_path: Path
) -> None:
    certificates = certificates_in(tmp_path, "locked")
    rabbitmq.control("add_vhost", "reconciliation")
    rabbitmq.control("add_user", "worker", "right-secret")
    try:
        with TlsProxy(rabbitmq.port, certificates.server) as proxy:
            address = f"{HOST}:{proxy.port}/reconciliation"
            secured = {"CELERY_BROKER_SSL_CA_LOCATION": str(certificates.authority)}
            site = make_site({**secured, "CELERY_BROKER_URL": f"amqps://worker:right-secret@{address}"}, workers=1)
            wrong = site.add_bridge(settings={"CELERY_BROKER_URL": f"amqps://worker:wrong-secret@{address}"})
            load = Load(seed, 50, clicks=1).prepare(site)
            load.send_all(site)
            site.run(wrong)
            site.wait_for("it says what to look at", lambda: "user and password in" in wrong.output(), LIMIT)
            assert "secret" not in wrong.output().replace("amqps://worker:**@", "")
            site.stop(wrong)
            site.run(site.bridge)
            site.wait_for("it may not", lambda: "access to vhost" in site.bridge.output(), LIMIT)
            assert "user and password in" in site.bridge.output()
            rabbitmq.control("set_permissions", "-p", "reconciliation", "worker", ".*", ".*", ".*")
            site.start().wait_settled(LIMIT)
            load.verdict(site).check()
            site.end()
    finally:
        rabbitmq.control("delete_user", "worker")
        rabbitmq.control("delete_vhost", "reconciliation")
