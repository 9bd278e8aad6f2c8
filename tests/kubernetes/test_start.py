"""What the chart puts into a pod starts the product: its commands, variables, files and questions for health."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from devstack.ports import free_port
from reconciliation.settings import catalogue
from reconciliation.settings_sources import FILE_SUFFIX, environment_variable
from tests.kubernetes.chart import PARTS, ROOT, Objects
from tests.kubernetes.conftest import Render
from tests.support.processes import Process
from tests.support.waiting import wait_until

UP_LIMIT = 90.0
#: What Secrets and ConfigMaps of the cluster hold that the chart only names.
THERE = {
    ("kafka-user", "password"): "pass word",
    ("kafka-ca", "ca.crt"): "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
    ("redis-ca", "ca.crt"): "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
}


class Pod:
    """One pod's files, laid out below a folder as Kubernetes would do below its root."""

    def __init__(self, objects: Objects, part: str, folder: Path) -> None:
        self._objects = objects
        self._folder = folder
        self.container = objects.container(part)
        volumes = {it["name"]: it for it in objects.pod(part)["volumes"]}
        for mount in self.container["volumeMounts"]:
            place = self._below(mount["mountPath"])
            place.mkdir(parents=True)
            for name, text in self._content(volumes[mount["name"]]).items():
                (place / name).write_text(text, encoding="utf-8")
        # paths in variables lead into the folder
        self.environment = {
            name: str(self._below(value)) if value.startswith(("/etc/", "/data/", "/tmp")) else value
            for name, value in objects.environment(part).items()
        }

    def _below(self, path: str) -> Path:
        return self._folder / path.removeprefix("/")

    def _content(self, volume: Mapping[str, Any]) -> dict[str, str]:
        found: dict[str, str] = {}
        sources = volume.get("projected", {}).get("sources") or [volume]
        for source in sources:
            for kind in ("secret", "configMap"):
                if kind in source:
                    found |= self._items(kind, source[kind])
        return found

    def _items(self, kind: str, source: Mapping[str, Any]) -> dict[str, str]:
        name = source.get("name") or source["secretName"]
        made = {it["metadata"]["name"] for it in self._objects.every if it["kind"].lower() == kind.lower()}
        if name in made:
            held = self._objects.secret(name) if kind == "secret" else self._objects.named("ConfigMap", name)["data"]
        else:
            held = {key: text for (owner, key), text in THERE.items() if owner == name}
        items = source.get("items") or [{"key": key, "path": key} for key in held]
        return {it["path"]: held[it["key"]] for it in items}


@pytest.mark.parametrize("part", PARTS)
def test_every_variable_means_something(everything: Objects, part: str) -> None:
    fields = [setting.about for setting in catalogue().values()]
    known = {environment_variable(name) for field in fields for name in field.names}
    known |= {environment_variable(name) + FILE_SUFFIX for field in fields if field.secret for name in field.names}
    flower = {name for name in everything.environment(part) if name.startswith("FLOWER_")}
    assert set(everything.environment(part)) - known - flower == {"HOME", "CONFIG_FILE", "TZ"}
    assert bool(flower) == (part == "flower")


@pytest.mark.parametrize("part", PARTS)
def test_the_product_reads_what_was_given(everything: Objects, part: str, tmp_path: Path) -> None:
    pod = Pod(everything, part, tmp_path)
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import json; from reconciliation.settings import load_settings; print(json.dumps(vars(load_settings())))",
        ],
        cwd=ROOT,
        env=pod.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    settings = json.loads(told.stdout)
    assert settings["environment"] == "prod"
    assert settings["kafka_input_topic"] == "prod.batch.enrolment.sync.request"
    assert settings["ledger_max_open"] == 1_000_000
    assert settings["log_requests"] is False
    # of the file, of the release's Secret, of another's, of another's ConfigMap
    assert (settings["redis_port"], settings["redis_password"]) == (6380, "pa$$word")
    assert settings["celery_broker_url"] == "redis://:pa$$word@redis:6379/0"
    assert settings["kafka_sasl_password"] == "pass word"
    assert Path(settings["kafka_ssl_ca_location"]).read_text(encoding="utf-8") == THERE["kafka-ca", "ca.crt"]


@contextmanager
def running(pod: Pod, part: str, folder: Path) -> Iterator[Process]:
    """Run a part's command as it stands, with nothing but its own variables."""
    program = pod.container["command"]
    beside = Path(sys.executable).parent
    process = Process(part, [str(beside / program[0]), *program[1:]], pod.environment, folder / f"{part}.log")
    process.start()
    try:
        yield process
        process.end()
    finally:
        process.kill()


def answer(address: str, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Give status and body; status 0 where nobody answers."""
    asked = urllib.request.Request(address, headers=dict(headers or {}))  # noqa: S310 - our own address
    try:
        with urllib.request.urlopen(asked, timeout=10) as told:  # noqa: S310 - our own address
            return told.status, told.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


@pytest.mark.parametrize("part", ["bridge", "worker"])
def test_a_part_starts_and_answers_for_its_health(rendered: Render, part: str, tmp_path: Path) -> None:
    port = free_port()
    # a port where nobody listens: servers that are away make a part not ready, and never dead
    config = {
        f"metrics.{part}.port": port,
        "kafka.broker-servers": "127.0.0.1:1",
        "redis.port": 1,
        "lms-cassandra.port": 1,
    }
    objects = rendered({"config": config, "secrets": {"celery.broker.url": "redis://127.0.0.1:1/0"}})
    pod = Pod(objects, part, tmp_path / "root")
    [told] = pod.container["ports"]
    assert told["containerPort"] == port
    with running(pod, part, tmp_path):
        probes = {name: pod.container[name]["httpGet"]["path"] for name in ("livenessProbe", "readinessProbe")}
        address = f"http://127.0.0.1:{port}"
        wait_until("it is alive", lambda: answer(address + probes["livenessProbe"])[0] == 200, UP_LIMIT)
        status, reasons = answer(address + probes["readinessProbe"])
        assert (status, json.loads(reasons)["status"]) == (503, "not ready")


@pytest.mark.parametrize("users", ["", "operator:choose-a-password"])
def test_flower_starts_and_is_asked_where_it_answers(rendered: Render, users: str, tmp_path: Path) -> None:
    port = free_port()
    objects = rendered({"flower": {"auth": {"users": users}, "urlPrefix": "flower"}})
    pod = Pod(objects, "flower", tmp_path / "root")
    # the one thing that differs here: the port is somebody else's on this machine
    pod.environment["FLOWER_PORT"] = str(port)
    pod.environment["CELERY_BROKER_URL"] = "redis://127.0.0.1:1/0"
    probe = pod.container["readinessProbe"]
    with running(pod, "flower", tmp_path):
        address = f"http://127.0.0.1:{port}"
        if users:
            path = probe["httpGet"]["path"]
            wait_until("Flower answers", lambda: answer(address + path)[0] == 200, UP_LIMIT)
            assert answer(address + "/flower/")[0] == 401
            login = {"Authorization": f"Basic {b64encode(users.encode()).decode()}"}
            assert answer(address + "/flower/", login)[0] == 200
        else:
            [program, *arguments] = probe["exec"]["command"]
            question = [it.replace(":5555/", f":{port}/") for it in arguments]
            assert program == "python"

            def asked() -> bool:
                command = [sys.executable, *question]
                return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0

            wait_until("Flower answers", asked, UP_LIMIT)
