"""Renders the chart with helm and reads what comes out of it."""

import base64
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/enrolment-reconciliation"
PARTS = ("bridge", "worker", "flower")
SPREAD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
#: Everything that is off by default, and everything that may be given, in one.
EVERYTHING: dict[str, Any] = {
    "global": {"env": "prod", "kafka": {"host": "kafka", "port": 9092}, "yugabyte": {"host": "yugabyte", "port": 9042}},
    "image": {"repository": "registry.example:5000/lern/reconciliation", "tag": "010", "pullSecrets": ["registry"]},
    "commonLabels": {"team": "lern"},
    "commonAnnotations": {"reloader.stakater.com/auto": "true"},
    "podLabels": {"tier": "jobs"},
    "podAnnotations": {"note": "a: b"},
    "serviceAccount": {"annotations": {"owner": "lern"}},
    "config": {
        "redis.host": "redis",
        "redis.ssl.enabled": True,
        "kafka.security.protocol": "sasl_ssl",
        "kafka.sasl.mechanism": "SCRAM-SHA-512",
        "kafka.sasl.username": "reconciliation",
        "ledger.max.open": 1000000,
        "retry.backoff.first": 0.5,
        "log.requests": False,
    },
    "configFile": {"files": {"enrolment-reconciliation.conf": 'redis.port = 6380\nredis.password = "pa$$word"\n'}},
    "secrets": {"celery.broker.url": "redis://:pa$$word@redis:6379/0"},
    "existingSecrets": {"kafka.sasl.password": {"name": "kafka-user", "key": "password"}},
    "certificates": {
        "kafka.ssl.ca.location": {"configMapName": "kafka-ca", "key": "ca.crt"},
        "redis.ssl.ca.location": {"secretName": "redis-ca", "key": "ca.crt"},
    },
    "extraEnv": [{"name": "TZ", "value": "Asia/Kolkata"}],
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "jobs", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "priorityClassName": "jobs",
    "bridge": {"replicaCount": 2, "topologySpreadConstraints": [SPREAD]},
    "worker": {"autoscaling": {"enabled": True}, "podDisruptionBudget": {"maxUnavailable": "", "minAvailable": "50%"}},
    "flower": {"auth": {"users": "operator:choose-a-password"}, "readOnly": True, "urlPrefix": "/flower"},
    "serviceMonitor": {"enabled": True, "labels": {"release": "monitoring"}},
    "networkPolicy": {"enabled": True, "egress": [{"to": [{"namespaceSelector": {}}]}]},
}
#: The same with the other way to scale.
BY_PENDING: dict[str, Any] = {
    **EVERYTHING,
    "worker": {"autoscaling": {"enabled": True, "by": "pending", "pending": {"authenticationRef": {"name": "a"}}}},
}


class Refused(Exception):
    """Helm did not render; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Objects:
    """What helm rendered."""

    every: tuple[dict[str, Any], ...]

    def of(self, kind: str, component: str = "") -> dict[str, Any]:
        """Give the one object of a kind, and of a component where one is named."""
        found = [it for it in self.every if it["kind"] == kind and (not component or component_of(it) == component)]
        assert len(found) == 1, f"{len(found)} objects of kind {kind} {component}"
        return found[0]

    def has(self, kind: str, component: str = "") -> bool:
        """Say whether there is an object of a kind."""
        return any(it["kind"] == kind and (not component or component_of(it) == component) for it in self.every)

    def named(self, kind: str, suffix: str) -> dict[str, Any]:
        """Give the object of a kind whose name ends so."""
        [found] = [it for it in self.every if it["kind"] == kind and it["metadata"]["name"].endswith(suffix)]
        return found

    def pod(self, part: str) -> dict[str, Any]:
        """Give the specification of a part's pods."""
        found: dict[str, Any] = self.of("Deployment", part)["spec"]["template"]["spec"]
        return found

    def container(self, part: str) -> dict[str, Any]:
        """Give the container of a part's pods."""
        [found] = self.pod(part)["containers"]
        return dict(found)

    def environment(self, part: str) -> dict[str, str]:
        """Give the variables that a part's process finds."""
        container = self.container(part)
        found: dict[str, str] = {}
        for source in container["envFrom"]:
            name = source["configMapRef"]["name"]
            found |= self.named("ConfigMap", name)["data"]
        return found | {it["name"]: it["value"] for it in container["env"]}

    def secret(self, suffix: str) -> dict[str, str]:
        """Give the texts that a Secret of the release holds."""
        data = self.named("Secret", suffix)["data"]
        return {key: base64.b64decode(text, validate=True).decode() for key, text in data.items()}


def component_of(it: Mapping[str, Any]) -> str:
    """Give the part that an object is of; empty where it is of all."""
    return str(it["metadata"]["labels"].get("app.kubernetes.io/component", ""))


def helm(*arguments: str) -> str:
    """Run helm and give what it prints. Raises Refused with what it says where it fails."""
    found = shutil.which("helm")
    assert found is not None, "there is no helm on PATH: .ci/helm builds one"
    ended = subprocess.run([found, *arguments], capture_output=True, text=True, timeout=60, check=False)
    if ended.returncode != 0:
        raise Refused(ended.stderr)
    return ended.stdout


class _Quoting(yaml.SafeDumper):
    """Writes every text in double quotes: readers differ about what is one without them, such as 1e3."""


_Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def manifests(folder: Path, values: Mapping[str, Any], release: str = "sync") -> str:
    """Give the text that helm makes of these values, which pass through a file in `folder`."""
    file = folder / "values.yaml"
    file.write_text(yaml.dump(dict(values), Dumper=_Quoting), encoding="utf-8")
    return helm("template", release, str(CHART), "--namespace", "lern", "--values", str(file))


def render(folder: Path, values: Mapping[str, Any], release: str = "sync") -> Objects:
    """Render the chart with these values."""
    return parsed(manifests(folder, values, release))


def parsed(text: str) -> Objects:
    """Read manifests as YAML 1.1, which is what Kubernetes' own reader mostly follows."""
    return Objects(tuple(it for it in yaml.load_all(text, yaml.CSafeLoader) if it))


def parsed_by_another(text: str) -> Objects:
    """Read manifests as YAML 1.2, with a reader that has nothing in common with the other one."""
    return Objects(tuple(it for it in YAML(typ="safe", pure=True).load_all(text) if it))
