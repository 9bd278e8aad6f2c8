"""Texts that YAML, Helm's templates or Kubernetes could take for something else arrive as they are, or are refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.chart import PARTS, Objects, Refused, manifests, parsed, parsed_by_another, render
from tests.kubernetes.conftest import Render
from tests.unit.test_chart import overlaid

TEXTS = (
    "",
    " ",
    "  blanks around  ",
    "010",
    "0x10",
    "0o17",
    "1e3",
    "1_000",
    "12:30:45",
    ".5",
    "-0",
    "NaN",
    ".inf",
    "true",
    "True",
    "yes",
    "on",
    "null",
    "~",
    "Null",
    "2024-01-01",
    "=",
    "<<",
    "-",
    "- a",
    "a: b",
    "a: b: c",
    "key: value # no comment",
    "#comment",
    "'",
    '"',
    "'single'",
    '"double"',
    "both \" and '",
    "back\\slash",
    "\\n",
    "\\u0041",
    "%percent %s %d",
    "@at",
    "`tick`",
    "&anchor",
    "*alias",
    "!!python/object:os.system",
    "|",
    ">",
    "|-\n  text",
    "? question",
    "[1, 2]",
    "{a: b}",
    "{}",
    "{{ .Release.Name }}",
    "{{env}}.topic",
    '{{ fail "no" }}',
    "{{",
    "}}",
    "{{- /* */ -}}",
    "{{`{{ }}`}}",
    "$(ENV)",
    "$$(ENV)",
    "$ENV ${ENV} $$",
    "`id` $(id) ; rm -rf /",
    "one\ntwo",
    "\nfirst line empty",
    "ends with a break\n",
    "ends with breaks\n\n\n",
    "win\r\ndows",
    "a\rb",
    "a\ttab",
    "\ttab first",
    "---",
    "a\n---\nkind: Secret",
    "...",
    "a\n...\nb",
    'x"\nprivileged: true\ny: "',
    "x\n          securityContext: {privileged: true}",
    "\u0085next line",
    "line\u2028separator\u2029",
    "\ufeffmark first",
    "no\u00a0break",
    "zero\u200bwidth",
    "right\u202eto left",
    "bell\x07 escape\x1b[31m delete\x7f",
    "ümläut ß",
    "परीक्षा",
    "\U0001d518\U0001d52b 🙂",
    "e\u0301 combined",
    "<script>alert(1)</script> & \"'",
    "x" * 20_000,
)

#: Where a text of any kind may stand, as a path of keys.
FREE = (
    ("config", "audit.channel"),
    ("secrets", "redis.password"),
    ("podAnnotations", "note"),
    ("commonAnnotations", "note"),
    ("serviceAccount", "annotations", "own"),
    ("configFile", "files", "enrolment-reconciliation.conf"),
    ("configFile", "files", "base-config.conf"),
    ("worker", "autoscaling", "pending", "query"),
)
#: Where only some texts may stand.
NARROW = (
    ("nameOverride",),
    ("fullnameOverride",),
    ("image", "repository"),
    ("image", "tag"),
    ("image", "digest"),
    ("image", "pullPolicy"),
    ("priorityClassName",),
    ("serviceAccount", "name"),
    ("configFile", "name"),
    ("configFile", "mountPath"),
    ("configFile", "existingConfigMap"),
    ("commonLabels", "x"),
    ("podLabels", "x"),
    ("nodeSelector", "x"),
    ("existingSecrets", "redis.password", "name"),
    ("existingSecrets", "redis.password", "key"),
    ("certificates", "redis.ssl.ca.location", "secretName"),
    ("flower", "auth", "users"),
    ("flower", "urlPrefix"),
    ("worker", "autoscaling", "pending", "serverAddress"),
    ("serviceMonitor", "interval"),
    ("serviceMonitor", "jobLabel"),
    ("worker", "resources", "limits", "memory"),
    ("worker", "strategy", "rollingUpdate", "maxSurge"),
)
#: Short texts of each kind, for the places where most are refused: one run of helm each.
FEW = (
    "010", "1e3", "true", "null", "a: b", "a\nb: c", 'x"y', "{{ .Release.Name }}", "$(ENV)",
    "परीक्षा", "x" * 64, "x" * 300,
)  # fmt: skip


#: What has to be given beside a place, so that its text shows somewhere.
BESIDE = {
    "configFile": {"configFile": {"existingConfigMap": "there"}},
    "existingSecrets": {"existingSecrets": {"redis.password": {"name": "n", "key": "k"}}},
    "certificates": {"certificates": {"redis.ssl.ca.location": {"key": "k"}}},
}
SHOWN = {"serviceMonitor": {"enabled": True}, "worker": {"autoscaling": {"enabled": True, "by": "pending"}}}


def values_with(*given: tuple[tuple[str, ...], Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for path, value in given:
        inner = values
        for key in path[:-1]:
            inner = inner.setdefault(key, {})
        inner[path[-1]] = value
    return values


def everywhere(text: str) -> dict[str, Any]:
    values = values_with(*((path, text) for path in FREE))
    values["worker"]["autoscaling"] |= {"enabled": True, "by": "pending"}
    values["extraEnv"] = [{"name": "MORE", "value": text}]
    if not text:
        # an empty secret is a mistake; the test of refusals has it
        del values["secrets"]
    return values


@pytest.fixture(scope="module")
def usual_shape(tmp_path_factory: pytest.TempPathFactory) -> str:
    return shape(render(tmp_path_factory.mktemp("usual"), everywhere("usual")))


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text[:24]))
def test_a_free_text_arrives_as_it_is_and_nothing_else_comes_of_it(tmp_path: Path, usual_shape: str, text: str) -> None:
    made = manifests(tmp_path, everywhere(text))
    objects = parsed(made)
    assert parsed_by_another(made) == objects
    assert not text or shape(objects) == usual_shape
    assert objects.named("ConfigMap", "-env")["data"]["AUDIT_CHANNEL"] == text
    assert objects.secret("-files") == dict.fromkeys(("base-config.conf", "enrolment-reconciliation.conf"), text)
    if text:
        assert objects.secret("-secrets") == {"REDIS_PASSWORD": text}
    for it in objects.every:
        assert it["metadata"]["annotations"]["note"] == text
    assert objects.of("ServiceAccount")["metadata"]["annotations"]["own"] == text
    for part in PARTS:
        assert {"name": "MORE", "value": text} in objects.container(part)["env"]
        template = objects.of("Deployment", part)["spec"]["template"]
        assert template["metadata"]["annotations"]["note"] == text
        assert not {"privileged"} & set(objects.container(part)["securityContext"])
    query = objects.of("ScaledObject")["spec"]["triggers"][0]["metadata"]["query"]
    assert query == text if text else "queue_length" in query


def shape(objects: Objects) -> str:
    """Write down which objects and keys there are, whatever the values."""

    def keys(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: keys(inner) for key, inner in value.items()}
        return [keys(inner) for inner in value] if isinstance(value, list) else None

    return json.dumps([keys(it) for it in objects.every], sort_keys=True)


def strings(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {text for inner in value.values() for text in strings(inner)}
    if isinstance(value, list):
        return {text for inner in value for text in strings(inner)}
    return {value} if isinstance(value, str) else set()


@pytest.mark.parametrize("path", NARROW, ids=".".join)
def test_a_narrow_text_arrives_as_it_is_or_is_refused_by_its_name(tmp_path: Path, path: tuple[str, ...]) -> None:
    taken = 0
    for text in FEW:
        values = overlaid(BESIDE.get(path[0], {}), values_with((path, text)))
        values = overlaid(SHOWN, values)
        try:
            objects = render(tmp_path, values)
        except Refused as error:
            told = str(error)
            assert "/".join(("", *path)) in told, told
            assert "panic" not in told
            assert "YAML parse error" not in told
        else:
            taken += 1
            found = {it for every in objects.every for it in strings(every)}
            if path == ("flower", "auth", "users"):
                found |= set(objects.secret("-flower").values())
            assert any(text in it for it in found), f"{text!r} of {path} is nowhere"
    assert taken < len(FEW)


@pytest.mark.parametrize(
    ("release", "prefix"),
    [
        ("a", "a-enrolment-reconciliation-"),
        ("enrolment-reconciliation", "enrolment-reconciliation-"),
        ("with.dots", "with-dots-enrolment-reconciliation-"),
        ("x" * 53, "x" * 52 + "-"),
        ("a" * 26, "a" * 26 + "-enrolment-reconciliation-"),
        ("a" * 28, "a" * 28 + "-enrolment-reconciliatio-"),
        ("a" * 42, "a" * 42 + "-enrolment-"),
    ],
)
def test_names_stay_within_what_kubernetes_allows(tmp_path: Path, release: str, prefix: str) -> None:
    values = {"secrets": {"redis.password": "p"}, "flower": {"auth": {"users": "a:b"}}}
    objects = render(tmp_path, values, release=release)
    assert objects.of("Service", "worker")["metadata"]["name"] == f"{prefix}worker"
    for it in objects.every:
        name = it["metadata"]["name"]
        assert len(name) <= 63
        assert name.replace("-", "a").isalnum()
        assert not name.endswith("-")
        assert len(it["metadata"]["labels"]["app.kubernetes.io/instance"]) <= 63


def test_a_release_that_begins_with_a_digit_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="set fullnameOverride"):
        render(tmp_path, {}, release="1st")
    named = render(tmp_path, {"fullnameOverride": "sync"}, release="1st")
    assert named.of("Deployment", "bridge")["metadata"]["name"] == "sync-bridge"


def test_own_labels_can_not_be_taken_over(rendered: Render) -> None:
    stolen = {"app.kubernetes.io/name": "other", "app.kubernetes.io/component": "other"}
    objects = rendered({"commonLabels": stolen, "podLabels": stolen})
    for part in PARTS:
        deployment = objects.of("Deployment", part)
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
