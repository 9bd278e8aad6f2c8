"""What the chart makes, held against Kubernetes' own schemas and against what the product needs."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.kubernetes.chart import BY_PENDING, CHART, EVERYTHING, PARTS, ROOT, SPREAD, Objects, helm, render
from tests.kubernetes.conftest import Render

VERSIONS = ("1.27", "1.29", "1.31", "1.33", "1.35", "1.37")
#: Kinds that are not Kubernetes' own, so it has no schema of them.
FOREIGN = {"ServiceMonitor", "ScaledObject"}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_what_kubernetes_takes(version: str, tmp_path: Path) -> None:
    seen = set()
    for values in ({}, EVERYTHING, BY_PENDING):
        for it in render(tmp_path, values).every:
            seen.add(it["kind"])
            if it["kind"] not in FOREIGN:
                assert kubernetes_validate.validate(it, version, strict=True) == version
    assert seen >= FOREIGN | {"Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget", "Secret"}


def test_the_schemas_do_refuse(defaults: Objects) -> None:
    broken = json.loads(json.dumps(defaults.of("Deployment", "worker")))
    broken["spec"]["template"]["spec"]["enableServiceLink"] = False
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


def test_lint_finds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    for values in ({}, EVERYTHING, BY_PENDING):
        file.write_text(yaml.safe_dump(values), encoding="utf-8")
        told = helm("lint", "--strict", str(CHART), "--values", str(file))
        assert "0 chart(s) failed" in told
        assert "[WARNING]" not in told


def test_every_switch_may_be_on_at_once(rendered: Render) -> None:
    def switched_on(values: dict[str, Any]) -> dict[str, Any]:
        inner = {name: switched_on(value) for name, value in values.items() if isinstance(value, dict)}
        return inner | ({"enabled": True} if "enabled" in values else {})

    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    kinds = {it["kind"] for it in rendered(switched_on(values)).every}
    assert kinds >= {"ServiceMonitor", "NetworkPolicy", "HorizontalPodAutoscaler"}


def test_each_object_has_its_own_name_and_the_release_s_labels(everything: Objects) -> None:
    names = [(it["kind"], it["metadata"]["name"]) for it in everything.every]
    assert len(names) == len(set(names))
    for it in everything.every:
        labels = it["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "sync"
        assert labels["team"] == "lern"
        assert it["metadata"]["annotations"]["reloader.stakater.com/auto"] == "true"
        assert it["metadata"]["namespace"] == "lern"


@pytest.mark.parametrize("part", PARTS)
def test_pods_have_no_rights(everything: Objects, part: str) -> None:
    pod, container = everything.pod(part), everything.container(part)
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    about = pod["securityContext"]
    assert about["runAsNonRoot"] is True
    assert about["runAsUser"] == about["runAsGroup"] == about["fsGroup"] == 10001
    assert about["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    writable = [it["mountPath"] for it in container["volumeMounts"] if not it.get("readOnly")]
    assert writable == ["/tmp", "/more"]
    assert {"emptyDir": {"sizeLimit": "64Mi"}, "name": "tmp"} in pod["volumes"]
    assert everything.of("ServiceAccount")["automountServiceAccountToken"] is False


@pytest.mark.parametrize("part", PARTS)
def test_a_part_runs_as_in_the_compose_file(defaults: Objects, part: str) -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"][part]
    container = defaults.container(part)
    assert container["command"] == compose["command"]
    assert container["image"] == compose["image"]
    user = defaults.pod(part)["securityContext"]
    assert f"{user['runAsUser']}:{user['runAsGroup']}" == compose["user"]


def test_health_is_asked_as_its_page_says(defaults: Objects) -> None:
    page = (ROOT / "docs/health.md").read_text(encoding="utf-8")
    example = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert example
    asked = yaml.safe_load(example[1])
    for part in ("bridge", "worker"):
        container = defaults.container(part)
        [port] = container["ports"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            path = asked[probe]["httpGet"]["path"]
            assert container[probe] == {**asked[probe], "httpGet": {"path": path, "port": port["name"]}}
        assert defaults.pod(part)["terminationGracePeriodSeconds"] == asked["terminationGracePeriodSeconds"]


def test_no_secret_stands_outside_of_a_secret(everything: Objects) -> None:
    for it in everything.every:
        if it["kind"] != "Secret":
            text = json.dumps(it)
            assert "pa$$word" not in text
            assert "choose-a-password" not in text
    assert everything.secret("-secrets") == {"CELERY_BROKER_URL": "redis://:pa$$word@redis:6379/0"}
    # the Flink job's own file may hold passwords, as this one does
    assert "pa$$word" in everything.secret("-files")["enrolment-reconciliation.conf"]
    assert everything.secret("-flower") == {"users": "operator:choose-a-password"}
    assert all("valueFrom" not in it for part in PARTS for it in everything.container(part)["env"])


def test_flower_s_password_is_in_its_own_pods_alone(everything: Objects) -> None:
    assert '"sync-enrolment-reconciliation-flower"' in json.dumps(everything.pod("flower")["volumes"])
    for part in ("bridge", "worker"):
        assert "flower" not in json.dumps(everything.pod(part)["volumes"])


def test_settings_reach_the_environment_as_they_are_given(everything: Objects) -> None:
    environment = everything.environment("worker")
    assert environment["LEDGER_MAX_OPEN"] == "1000000"
    assert environment["RETRY_BACKOFF_FIRST"] == "0.5"
    assert environment["LOG_REQUESTS"] == "false"
    assert environment["ENV"] == "prod"
    assert environment["KAFKA_BROKER_SERVERS"] == "kafka:9092"
    assert environment["LMS_CASSANDRA_WRITE_TIMESTAMPS"] == "false"
    assert environment["CONFIG_FILE"] == "/data/flink/conf/enrolment-reconciliation.conf"
    assert {"name": "TZ", "value": "Asia/Kolkata"} in everything.container("worker")["env"]


def test_settings_win_over_what_the_installer_hands_to_all(rendered: Render) -> None:
    values = {
        "global": {"env": "prod", "redis": {"host": "redis", "port": "6380"}, "yugabyte": {"host": "y"}},
        "config": {"env": "dock", "lms-cassandra.write.timestamps": True},
    }
    environment = rendered(values).environment("bridge")
    assert environment["ENV"] == "dock"
    assert (environment["REDIS_HOST"], environment["REDIS_PORT"]) == ("redis", "6380")
    assert environment["LMS_CASSANDRA_WRITE_TIMESTAMPS"] == "true"
    assert "LMS_CASSANDRA_PORT" not in environment


def test_a_change_of_what_pods_read_starts_them_anew(rendered: Render) -> None:
    def sums(values: dict[str, Any]) -> dict[str, str]:
        template = rendered(values).of("Deployment", "worker")["spec"]["template"]
        return {name: text for name, text in template["metadata"]["annotations"].items() if "checksum" in name}

    plain = sums({})
    assert sums({"worker": {"replicaCount": 5}}) == plain
    for values in (
        {"config": {"env": "prod"}},
        {"secrets": {"redis.password": "p"}},
        {"configFile": {"files": {"enrolment-reconciliation.conf": "redis.port = 1"}}},
    ):
        assert sums(values) != plain
    assert len(plain["checksum/secrets"]) == 8


def test_flower_without_a_password_stays_within_its_pod(defaults: Objects, rendered: Render) -> None:
    assert defaults.environment("flower")["FLOWER_ADDRESS"] == "127.0.0.1"
    assert not defaults.has("Service", "flower")
    assert "exec" in defaults.container("flower")["livenessProbe"]
    assert not rendered({"flower": {"enabled": False}}).has("Deployment", "flower")


def test_flower_with_a_password_is_reached(everything: Objects, rendered: Render) -> None:
    environment = everything.environment("flower")
    assert environment["FLOWER_ADDRESS"] == "0.0.0.0"  # noqa: S104 - within its pod
    assert (environment["FLOWER_READ_ONLY"], environment["FLOWER_URL_PREFIX"]) == ("true", "flower")
    assert everything.container("flower")["livenessProbe"]["httpGet"]["path"] == "/flower/healthcheck"
    existing = {"flower": {"auth": {"existingSecret": {"name": "flower-users", "key": "u"}}}}
    objects = rendered(existing)
    [volume] = [it for it in objects.pod("flower")["volumes"] if it["name"] == "flower"]
    assert volume["secret"]["secretName"] == "flower-users"
    assert volume["secret"]["items"] == [{"key": "u", "path": "users"}]
    assert not objects.has("Secret")


def test_spread_constraints_are_about_their_own_part(everything: Objects, rendered: Render) -> None:
    [constraint] = everything.pod("bridge")["topologySpreadConstraints"]
    selector = everything.of("Deployment", "bridge")["spec"]["selector"]
    assert constraint == {**SPREAD, "labelSelector": selector}
    own = [{**SPREAD, "labelSelector": {"matchLabels": {"a": "b"}}}]
    objects = rendered({"worker": {"topologySpreadConstraints": own}})
    assert objects.pod("worker")["topologySpreadConstraints"] == own


def test_a_strategy_is_one_that_kubernetes_takes(rendered: Render) -> None:
    objects = rendered({"worker": {"strategy": {"type": "Recreate"}}})
    assert objects.of("Deployment", "worker")["spec"]["strategy"] == {"type": "Recreate"}
    rolling = objects.of("Deployment", "bridge")["spec"]["strategy"]
    assert rolling == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def test_what_a_killed_worker_leaves_behind_is_reaped(defaults: Objects) -> None:
    assert defaults.pod("worker")["shareProcessNamespace"] is True


def test_a_digest_wins_over_the_tag(rendered: Render) -> None:
    digest = "sha256:" + "0" * 64
    objects = rendered({"image": {"repository": "here/it", "tag": "1", "digest": digest}})
    assert objects.container("worker")["image"] == f"here/it@{digest}"


def test_a_longer_shutdown_needs_a_longer_grace(rendered: Render) -> None:
    values = {"config": {"worker.shutdown.limit": 290.5}, "worker": {"terminationGracePeriodSeconds": 301}}
    assert rendered(values).pod("worker")["terminationGracePeriodSeconds"] == 301


def test_ids_may_be_left_to_the_cluster(rendered: Render) -> None:
    about = {"runAsUser": None, "runAsGroup": None, "fsGroup": None}
    told = rendered({"podSecurityContext": about}).pod("worker")["securityContext"]
    assert told == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


@pytest.fixture(scope="module")
def talking_chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart with one object more: what helm prints after an installation, and `helm template` does not show."""
    chart = tmp_path_factory.mktemp("talking") / "enrolment-reconciliation"
    shutil.copytree(CHART, chart)
    shown = '{{ include (print $.Template.BasePath "/NOTES.txt") . | quote }}'
    (chart / "templates/shown.yaml").write_text(f"kind: Notes\ntext: {shown}\n", encoding="utf-8")
    return chart


def notes(chart: Path, *arguments: str) -> str:
    told = helm("template", "sync", str(chart), "--show-only", "templates/shown.yaml", *arguments)
    return str(yaml.safe_load(told)["text"])


def test_notes_name_what_was_left_at_its_default(talking_chart: Path, tmp_path: Path) -> None:
    told = notes(talking_chart)
    assert "exec deploy/sync-enrolment-reconciliation-bridge -- python -m commands check" in told
    assert "port-forward deploy/sync-enrolment-reconciliation-flower 5555" in told
    assert re.findall(r"^Not given: ([\w.-]+),", told, re.MULTILINE) == [
        "env", "kafka.broker-servers", "lms-cassandra.host", "redis.host", "celery.broker.url",
    ]  # fmt: skip
    file = tmp_path / "values.yaml"
    given = {
        "config": {"env": "prod", "kafka.broker-servers": "k:9092", "lms-cassandra.host": "c"},
        "global": {"redis": {"host": "r"}},
        "existingSecrets": {"celery.broker.url": {"name": "a", "key": "b"}},
        "flower": {"enabled": False},
    }
    file.write_text(yaml.safe_dump(given), encoding="utf-8")
    silent = notes(talking_chart, "--values", str(file))
    assert "Not given" not in silent
    assert "port-forward" not in silent
