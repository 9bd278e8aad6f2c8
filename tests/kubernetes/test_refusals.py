"""What can't be meant is refused before anything is installed, in words that name the value."""

from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.chart import Refused, render
from tests.unit.test_chart import NONSENSE

BEYOND_THE_SCHEMA: list[tuple[dict[str, Any], str]] = [
    ({"config": {"kafka.inptu.topic": "x"}}, 'config: "kafka.inptu.topic" is no setting'),
    ({"config": {"KAFKA_INPUT_TOPIC": "x"}}, 'config: "KAFKA_INPUT_TOPIC" is no setting'),
    ({"secrets": {"nothing": "x"}}, 'secrets: "nothing" is no setting'),
    ({"config": {"redis.password": "x"}}, "config: redis.password may hold a password: give it in secrets"),
    ({"config": {"celery.broker.url": "redis://u:p@r:6379"}}, "config: celery.broker.url may hold a password"),
    ({"config": {"kafka.options": "a=b"}}, "config: kafka.options may hold a password"),
    ({"secrets": {"redis.host": "x"}}, "secrets: redis.host holds no secret: it belongs to config"),
    (
        {"existingSecrets": {"redis.ssl.ca.location": {"name": "a", "key": "b"}}},
        "redis.ssl.ca.location holds no secret: it belongs to config or certificates",
    ),
    (
        {"certificates": {"redis.password": {"secretName": "a", "key": "b"}}},
        "certificates: redis.password names no file",
    ),
    (
        {"secrets": {"redis.password": "x"}, "existingSecrets": {"redis.password": {"name": "a", "key": "b"}}},
        "redis.password is given twice, in secrets and in existingSecrets",
    ),
    ({"config": {"metrics.worker.port": 0}}, 'metrics.worker.port is "0", but must be a whole number'),
    ({"config": {"metrics.bridge.port": "70000"}}, 'metrics.bridge.port is "70000", but must be'),
    ({"config": {"metrics.bridge.port": 94.5}}, 'metrics.bridge.port is "94.5", but must be'),
    ({"config": {"metrics.address": "127.0.0.1"}}, "metrics.address must be one that is reached"),
    ({"config": {"metrics.address": ""}}, "metrics.address must be one that is reached"),
    (
        {"config": {"worker.shutdown.limit": 300}},
        "worker.terminationGracePeriodSeconds is 120, but must be 310 or more: worker.shutdown.limit is 300",
    ),
    ({"worker": {"terminationGracePeriodSeconds": 60}}, "but must be 120 or more: worker.shutdown.limit is 110"),
    ({"config": {"worker.shutdown.limit": "soon"}}, 'worker.shutdown.limit is "soon", but must be a number'),
    ({"worker": {"autoscaling": {"minReplicas": 7}}}, "minReplicas is 7, but must not be above maxReplicas"),
    ({"worker": {"podDisruptionBudget": {"minAvailable": 1}}}, "worker.podDisruptionBudget: give one of"),
    ({"bridge": {"podDisruptionBudget": {"maxUnavailable": ""}}}, "bridge.podDisruptionBudget: give one of"),
    ({"configFile": {"files": {"other.conf": "a"}}}, "configFile: files has no enrolment-reconciliation.conf"),
    (
        {"configFile": {"existingSecret": "a", "existingConfigMap": "b"}},
        "configFile: existingConfigMap and existingSecret are given, but only one",
    ),
    (
        {"flower": {"auth": {"users": "a:b", "existingSecret": {"name": "a", "key": "b"}}}},
        "flower.auth: give users or existingSecret",
    ),
    ({"flower": {"auth": {"existingSecret": {"name": "a"}}}}, "flower.auth.existingSecret: give both"),
]


@pytest.mark.parametrize(("values", "told"), BEYOND_THE_SCHEMA, ids=[told[:40] for _, told in BEYOND_THE_SCHEMA])
def test_what_the_schema_can_not_say_is_told_in_one_line(tmp_path: Path, values: dict[str, Any], told: str) -> None:
    with pytest.raises(Refused) as refused:
        render(tmp_path, values)
    [line] = [it for it in str(refused.value).splitlines() if it.startswith("Error:")]
    assert told in line


@pytest.mark.parametrize(("values", "place"), NONSENSE, ids=[place for _, place in NONSENSE])
def test_the_schema_names_the_value(tmp_path: Path, values: dict[str, Any], place: str) -> None:
    with pytest.raises(Refused) as refused:
        render(tmp_path, values)
    assert f"at '{place}'" in str(refused.value)


def test_an_address_without_a_user_is_no_secret(tmp_path: Path) -> None:
    config = {"celery.broker.url": "redis://redis:6379/0", "service.search.basePath": "http://search-service:9000"}
    environment = render(tmp_path, {"config": config}).environment("worker")
    assert environment["CELERY_BROKER_URL"] == "redis://redis:6379/0"
    assert environment["SERVICE_SEARCH_BASEPATH"] == "http://search-service:9000"
