"""What scales, spares, watches and closes off the pods."""

import yaml

from reconciliation.settings import load_settings
from tests.kubernetes.chart import BY_PENDING, CHART, Objects
from tests.kubernetes.conftest import Render
from tests.support import promql


def test_replicas_are_the_autoscaler_s_where_there_is_one(defaults: Objects, everything: Objects) -> None:
    assert defaults.of("Deployment", "worker")["spec"]["replicas"] == 2
    assert "replicas" not in everything.of("Deployment", "worker")["spec"]
    scaler = everything.of("HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"]["name"] == everything.of("Deployment", "worker")["metadata"]["name"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 6)
    assert scaler["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 80}
    assert "cpu" in everything.container("worker")["resources"]["requests"]
    assert not defaults.has("HorizontalPodAutoscaler")


def test_a_scaled_object_counts_what_waits(rendered: Render) -> None:
    objects = rendered(BY_PENDING)
    assert not objects.has("HorizontalPodAutoscaler")
    it = objects.of("ScaledObject")
    assert it["apiVersion"] == "keda.sh/v1alpha1"
    spec = it["spec"]
    assert set(spec) == {
        "scaleTargetRef", "minReplicaCount", "maxReplicaCount", "pollingInterval", "advanced", "triggers",
    }  # fmt: skip
    assert spec["scaleTargetRef"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": objects.of("Deployment", "worker")["metadata"]["name"],
    }
    assert (spec["minReplicaCount"], spec["maxReplicaCount"], spec["pollingInterval"]) == (2, 6, 30)
    assert spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"] == {
        "stabilizationWindowSeconds": 300
    }
    [trigger] = spec["triggers"]
    assert (trigger["type"], trigger["metricType"]) == ("prometheus", "AverageValue")
    assert trigger["authenticationRef"] == {"name": "a"}
    metadata = trigger["metadata"]
    # KEDA takes texts alone
    assert all(isinstance(value, str) for value in metadata.values())
    assert (metadata["threshold"], metadata["ignoreNullValues"]) == ("15", "false")
    used = promql.read(metadata["query"])
    assert used.metrics == {"enrolment_reconciliation_queue_length"}
    service = objects.of("Service", "bridge")["metadata"]
    assert f'namespace="{service["namespace"]}",service="{service["name"]}"' in metadata["query"]


def test_a_full_ledger_can_call_for_every_worker(defaults: Objects) -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))["worker"]["autoscaling"]
    settings = load_settings({})
    messages = settings.ledger_max_open / settings.group_size
    assert messages / values["pending"]["messagesPerWorker"] >= values["maxReplicas"]
    assert defaults.of("Deployment", "worker")["spec"]["replicas"] == values["minReplicas"]


def test_budgets_let_one_pod_go_at_a_time(defaults: Objects, everything: Objects) -> None:
    for part in ("bridge", "worker"):
        spec = defaults.of("PodDisruptionBudget", part)["spec"]
        assert spec["maxUnavailable"] == 1
        assert "minAvailable" not in spec
        assert spec["selector"] == defaults.of("Deployment", part)["spec"]["selector"]
    assert everything.of("PodDisruptionBudget", "worker")["spec"]["minAvailable"] == "50%"


def test_a_service_monitor_finds_bridge_and_workers_under_one_job(everything: Objects) -> None:
    monitor = everything.of("ServiceMonitor")
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor["metadata"]["labels"]["release"] == "monitoring"
    spec = monitor["spec"]
    assert spec["jobLabel"] == "app.kubernetes.io/instance"
    assert spec["namespaceSelector"] == {"matchNames": ["lern"]}
    [endpoint] = spec["endpoints"]
    assert endpoint == {
        "port": "metrics", "path": "/metrics", "interval": "60s", "scrapeTimeout": "10s", "honorLabels": False,
    }  # fmt: skip
    [expression] = spec["selector"]["matchExpressions"]
    for part, port in (("bridge", 9464), ("worker", 9465)):
        service = everything.of("Service", part)
        labels = service["metadata"]["labels"]
        assert spec["selector"]["matchLabels"].items() <= labels.items()
        assert labels[expression["key"]] in expression["values"]
        assert labels[spec["jobLabel"]] == "sync"
        assert service["spec"]["clusterIP"] == "None"
        assert service["spec"]["ports"] == [{"name": "metrics", "port": port, "targetPort": "metrics"}]
        pod_labels = everything.of("Deployment", part)["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= pod_labels.items()
    assert everything.of("Service", "flower")["metadata"]["labels"][expression["key"]] not in expression["values"]


def test_a_policy_opens_what_is_asked_for_alone(everything: Objects, rendered: Render) -> None:
    spec = everything.of("NetworkPolicy")["spec"]
    assert [rule["ports"][0]["port"] for rule in spec["ingress"]] == ["metrics", "http"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    bare = rendered({"networkPolicy": {"enabled": True}}).of("NetworkPolicy")["spec"]
    assert [rule["ports"][0]["port"] for rule in bare["ingress"]] == ["metrics"]
    assert bare["policyTypes"] == ["Ingress"]
