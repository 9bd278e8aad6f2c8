"""Holds the Helm chart to the product, as far as that takes no helm; tests/kubernetes renders it."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from reconciliation.settings import catalogue, load_settings
from reconciliation.settings_reference import chart_list

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/enrolment-reconciliation"
PAGE = ROOT / "docs/kubernetes.md"

#: Values that the schema refuses, and the place that it names.
NONSENSE: list[tuple[dict[str, Any], str]] = [
    ({"imagee": {}}, ""),
    ({"image": {"tag": 1e3}}, "/image/tag"),
    ({"image": {"tag": 16}}, "/image/tag"),
    ({"image": {"tag": "a b"}}, "/image/tag"),
    ({"image": {"repository": ""}}, "/image/repository"),
    ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
    ({"image": {"digest": "sha256:1"}}, "/image/digest"),
    ({"fullnameOverride": "Upper"}, "/fullnameOverride"),
    ({"fullnameOverride": "x" * 53}, "/fullnameOverride"),
    ({"commonLabels": {"a": "x" * 64}}, "/commonLabels/a"),
    ({"commonLabels": {"a": 1}}, "/commonLabels/a"),
    ({"commonLabels": {"a b": "c"}}, "/commonLabels"),
    ({"podAnnotations": {"a": True}}, "/podAnnotations/a"),
    ({"config": {"kafka.input.topic": ["a"]}}, "/config/kafka.input.topic"),
    ({"config": {"audit.channel": "a\0b"}}, "/config/audit.channel"),
    ({"config": []}, "/config"),
    ({"secrets": {"redis.password": ""}}, "/secrets/redis.password"),
    ({"secrets": {"redis.password": 10}}, "/secrets/redis.password"),
    ({"existingSecrets": {"redis.password": "name"}}, "/existingSecrets/redis.password"),
    ({"existingSecrets": {"redis.password": {"name": "a"}}}, "/existingSecrets/redis.password"),
    ({"existingSecrets": {"redis.password": {"name": "A_B", "key": "c"}}}, "/existingSecrets/redis.password/name"),
    ({"certificates": {"redis.ssl.ca.location": {"key": "a"}}}, "/certificates/redis.ssl.ca.location"),
    ({"configFile": {"mountPath": "relative"}}, "/configFile/mountPath"),
    ({"configFile": {"files": {"../up": "a"}}}, "/configFile/files"),
    ({"bridge": {"replicaCount": -1}}, "/bridge/replicaCount"),
    ({"bridge": {"replicaCount": "2"}}, "/bridge/replicaCount"),
    ({"bridge": {"replicas": 2}}, "/bridge"),
    ({"bridge": {"terminationGracePeriodSeconds": 5}}, "/bridge/terminationGracePeriodSeconds"),
    ({"worker": {"resources": {"limits": {"memory": "much"}}}}, "/worker/resources/limits/memory"),
    ({"worker": {"strategy": {"type": "Slow"}}}, "/worker/strategy/type"),
    ({"worker": {"strategy": {"rollingUpdate": {"maxSurge": "x%"}}}}, "/worker/strategy/rollingUpdate/maxSurge"),
    ({"worker": {"autoscaling": {"by": "luck"}}}, "/worker/autoscaling/by"),
    ({"worker": {"autoscaling": {"minReplicas": 0}}}, "/worker/autoscaling/minReplicas"),
    ({"worker": {"podDisruptionBudget": {"maxUnavailable": "101%"}}}, "/worker/podDisruptionBudget/maxUnavailable"),
    ({"podSecurityContext": {"runAsUser": 0}}, "/podSecurityContext/runAsUser"),
    ({"podSecurityContext": {"runAsNonRoot": False}}, "/podSecurityContext/runAsNonRoot"),
    ({"securityContext": {"privileged": True}}, "/securityContext/privileged"),
    ({"flower": {"auth": {"users": "nobody"}}}, "/flower/auth/users"),
    ({"flower": {"enabled": "yes"}}, "/flower/enabled"),
    ({"serviceMonitor": {"interval": "often"}}, "/serviceMonitor/interval"),
    ({"extraEnv": [{"value": "a"}]}, "/extraEnv/0"),
]


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(CHART / "values.yaml")
    return found


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    return found


def overlaid(values: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Lay given values over the chart's, as helm does."""
    inner = {
        key: overlaid(values[key], value) if isinstance(value, dict) and isinstance(values.get(key), dict) else value
        for key, value in given.items()
    }
    return values | inner


def places(errors: list[jsonschema.ValidationError]) -> Iterator[str]:
    for error in errors:
        yield "".join(f"/{key}" for key in error.absolute_path)
        yield from places(list(error.context or ()))


def test_the_schema_is_one_and_takes_the_chart_s_own_values(schema: dict[str, Any], values: dict[str, Any]) -> None:
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.Draft7Validator(schema).validate(values)
    # what an umbrella chart adds
    jsonschema.Draft7Validator(schema).validate(values | {"enabled": True, "global": {"env": "prod", "other": [1]}})


@pytest.mark.parametrize(("given", "place"), NONSENSE, ids=[place for _, place in NONSENSE])
def test_the_schema_refuses_nonsense(
    schema: dict[str, Any], values: dict[str, Any], given: dict[str, Any], place: str
) -> None:
    errors = list(jsonschema.Draft7Validator(schema).iter_errors(overlaid(values, given)))
    assert place in set(places(errors))


def test_the_schema_knows_every_value(schema: dict[str, Any], values: dict[str, Any]) -> None:
    def unknown(part: dict[str, Any], inner: dict[str, Any], path: str) -> Iterator[str]:
        for key, value in inner.items():
            known = part.get("properties", {}).get(key)
            if known is None and part.get("additionalProperties", True) is True:
                continue
            if known is None and part.get("additionalProperties") is False:
                yield f"{path}{key}"
            elif known is not None and isinstance(value, dict):
                yield from unknown(known, value, f"{path}{key}.")

    assert list(unknown(schema, values, "")) == []
    assert schema["additionalProperties"] is False


def test_the_chart_s_list_of_settings_is_the_catalogue_s(values: dict[str, Any]) -> None:
    text = (CHART / "settings.json").read_text(encoding="utf-8")
    assert text == chart_list(), "run `make settings`"
    names = {name for setting in catalogue().values() for name in setting.about.names}
    assert set(json.loads(text)) == names
    assert set(values["config"]) <= names


def test_settings_of_each_kind_are_listed_as_such() -> None:
    kinds = json.loads((CHART / "settings.json").read_text(encoding="utf-8"))
    assert kinds["celery.broker.url"] == kinds["redis.password"] == "secret"
    assert kinds["kafka.ssl.ca.location"] == "file"
    assert kinds["kafka.output.audit.topic"] == kinds["kafka.audit.topic"] == "plain"


def test_defaults_that_templates_repeat_are_the_product_s() -> None:
    helper = (CHART / "templates/_settings.tpl").read_text(encoding="utf-8")
    settings = load_settings({})
    assert f'"{settings.metrics_bridge_port}"' in helper
    assert f'"{settings.metrics_worker_port}"' in helper
    assert f'default "{settings.worker_shutdown_limit:g}"' in helper


def test_the_chart_has_the_project_s_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    chart = YAML(typ="safe").load(CHART / "Chart.yaml")
    assert (chart["version"], chart["appVersion"]) == (version, version)


def test_the_chart_renders_for_a_helm_that_was_built_from_its_module() -> None:
    # such a one takes Kubernetes for v1.20 and would refuse any newer demand
    assert "kubeVersion" not in YAML(typ="safe").load(CHART / "Chart.yaml")


def test_pods_get_time_to_finish(values: dict[str, Any]) -> None:
    assert values["worker"]["terminationGracePeriodSeconds"] >= load_settings({}).worker_shutdown_limit + 10
    assert values["bridge"]["terminationGracePeriodSeconds"] >= 120


def test_memory_is_asked_for_as_it_was_measured(values: dict[str, Any]) -> None:
    performance = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    most = re.search(r"A worker holds (\d+) to (\d+) MiB", performance)
    bridge = re.search(r"A bridge holds about (\d+) MiB", performance)
    assert most
    assert bridge
    for part, measured in (("worker", int(most[2])), ("bridge", int(bridge[1]))):
        resources = values[part]["resources"]
        asked = int(resources["requests"]["memory"].removesuffix("Mi"))
        # a worker's has room for large courses
        assert measured <= asked <= 1.6 * measured
        assert int(resources["limits"]["memory"].removesuffix("Mi")) >= 2 * measured


def leaves(values: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        # Settings' own names hold dots; the row is about the map
        if isinstance(value, dict) and value and path + key not in WHOLE:
            yield from leaves(value, f"{path}{key}.")
        else:
            yield path + key, value


#: Maps that are told as one.
WHOLE = {
    "config", "podSecurityContext", "securityContext", "probes", "bridge.resources", "bridge.strategy",
    "worker.resources", "worker.strategy", "flower.resources",
}  # fmt: skip


def test_the_page_has_a_row_for_every_value(values: dict[str, Any]) -> None:
    _, _, table = PAGE.read_text(encoding="utf-8").partition("## Every value\n")
    rows = re.findall(r"^\| `([\w.]+)` \| (.+?) \| ", table, re.MULTILINE)
    told = {name: text.strip("`") for name, text in rows}
    assert len(told) == len(rows)

    def shown(name: str, value: Any) -> str:
        return "see below" if name in WHOLE else json.dumps(value).strip('"') or '""'

    assert told == {name: shown(name, value) for name, value in leaves(values)}
