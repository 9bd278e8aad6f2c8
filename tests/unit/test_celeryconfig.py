"""Which broker Celery takes, whatever else it would listen to."""

import json
import subprocess
import sys

import pytest

from tests.support.ended import ended

_TELL = "from worker.celery import app; print(app.conf.broker_read_url, app.conf.broker_write_url)"


def celery_s_broker(**variables: str) -> subprocess.CompletedProcess[str]:
    return ended(sys.executable, "-c", _TELL, **variables)


def test_the_broker_is_the_setting_s_value_and_not_the_variable_as_it_stands() -> None:
    told = celery_s_broker(ENV="prod", CELERY_BROKER_URL=" redis://{{env}}-redis:6999/0 ")
    assert told.stdout.split() == ["redis://prod-redis:6999/0"] * 2


def test_a_pool_s_child_may_take_as_long_as_kafka_and_cassandra() -> None:
    tell = "from worker.celery import app; print(app.conf.worker_proc_alive_timeout)"
    told = ended(sys.executable, "-c", tell, KAFKA_TIMEOUT="40", LMS_CASSANDRA_TIMEOUT="20")
    assert told.returncode == 0
    assert float(told.stdout) > 40 + 2 * 20


@pytest.mark.parametrize("variable", ["CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"])
def test_variables_that_celery_would_take_over_the_setting_are_refused(variable: str) -> None:
    told = celery_s_broker(**{variable: "redis://elsewhere:6379/0"})
    assert told.returncode == 2
    assert told.stderr.startswith(f"{variable} is no setting")
    assert told.stderr.count("\n") == 1


def test_what_flower_and_inspect_show_of_the_settings_holds_no_password() -> None:
    # celery/worker/control.py, conf, which Flower's page of a worker shows
    tell = "from worker.celery import app; print(app.conf.table(with_defaults=True), app.conf.humanize())"
    told = ended(
        sys.executable,
        "-c",
        tell,
        CELERY_BROKER_URL="redis://user:topsecret@redis:6379/0",
        LEDGER_REDIS_URL="redis://:topsecret@ledger:6379/0",
    )
    assert told.returncode == 0
    assert "redis://user:" in told.stdout
    assert "topsecret" not in told.stdout


_TELL_QUEUES = """
import json
from worker.celery import app
names = ("control_exchange", "event_exchange")
queues = {
    name: [it.durable, it.exchange.name, it.routing_key, it.queue_arguments] for name, it in app.amqp.queues.items()
}
print(json.dumps([queues, *(app.conf[name] for name in names)]))
"""


@pytest.mark.parametrize(
    ("url", "arguments", "exchanges"),
    [
        ("redis://h/0", None, ["celery", "celeryev"]),
        (
            "amqp://h//",
            {"x-queue-type": "quorum", "x-delivery-limit": 5},
            ["prod-enrolment-reconciliation-group.control", "prod-enrolment-reconciliation-group.events"],
        ),
    ],
)
def test_queues_are_durable_and_on_rabbitmq_quorum_queues(
    url: str, arguments: dict[str, object] | None, exchanges: list[str]
) -> None:
    told = ended(sys.executable, "-c", _TELL_QUEUES, ENV="prod", CELERY_BROKER_URL=url)
    assert told.returncode == 0
    name = "prod-enrolment-reconciliation-group"
    queues = {each: [True, each, each, arguments] for each in (name, f"{name}-bulk")}
    assert json.loads(told.stdout) == [queues, *exchanges]
