"""The dashboard and the alert rules as Grafana and Prometheus take them; which metrics they use, the integration tests
hold against what is served."""

import re
from itertools import combinations

import pytest

from bridge.pacing import Hold
from reconciliation.counters import PREFIX
from tests.support.monitoring import ROOT, alerts, dashboard, expressions, panels
from tests.support.promql import read

SEVERITIES = {"info", "warning", "critical"}
COLUMNS = 24
#: Metrics of Prometheus' own client library that workers serve beside ours.
LIBRARY_METRICS = {"process_resident_memory_bytes", "process_start_time_seconds"}


def test_panel_ids_are_unique() -> None:
    numbers = [panel["id"] for panel in dashboard()["panels"]]
    assert len(numbers) > 30
    assert len(set(numbers)) == len(numbers)


def test_panels_lie_on_the_grid_and_on_no_other() -> None:
    places = [(panel["title"], panel["gridPos"]) for panel in dashboard()["panels"]]
    for title, place in places:
        assert place["w"] > 0, title
        assert place["h"] > 0, title
        assert 0 <= place["x"] <= COLUMNS - place["w"], title
    for (title, one), (other_title, other) in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, f"{title} lies on {other_title}"


def test_rows_are_what_operators_ask_for() -> None:
    rows = [panel["title"].partition(":")[0] for panel in dashboard()["panels"] if panel["type"] == "row"]
    assert rows == ["Flow", "Outcomes", "Durations", "Servers", "Parts"]


def test_every_panel_says_what_it_shows() -> None:
    for panel in panels():
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
    titles = [panel["title"] for panel in dashboard()["panels"] if panel["type"] == "row"]
    assert len(set(titles)) == len(titles)


def test_every_target_asks_the_chosen_data_source() -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels():
        assert panel["datasource"] == chosen, panel["title"]
        assert panel["targets"], panel["title"]
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters), panel["title"]
        for target in panel["targets"]:
            assert target["datasource"] == chosen, panel["title"]


def test_variables_are_those_that_are_used() -> None:
    defined = {variable["name"] for variable in dashboard()["templating"]["list"]}
    assert defined == {"datasource", "job"}
    used = {
        name for panel in panels() for target in panel["targets"] for name in re.findall(r"\$(\w+)", target["expr"])
    }
    assert used <= defined | {"__rate_interval"}


def test_every_metric_of_the_dashboard_is_of_the_chosen_job() -> None:
    for panel in panels():
        for target in panel["targets"]:
            used = read(target["expr"])
            for metric in used.metrics:
                assert (metric, "job") in used.labels, f"{panel['title']}: {metric}"


@pytest.mark.parametrize("where", expressions())
def test_an_expression_uses_metrics_of_ours(where: str) -> None:
    used = read(expressions()[where])
    assert used.metrics
    assert [name for name in used.metrics if not name.startswith(PREFIX) and name not in LIBRARY_METRICS] == []


def test_alerts_have_names_of_their_own() -> None:
    names = [rule["alert"] for rule in alerts()]
    assert len(names) > 9
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, object]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    labels, annotations = rule["labels"], rule["annotations"]
    assert isinstance(labels, dict)
    assert isinstance(annotations, dict)
    assert labels["severity"] in SEVERITIES
    assert re.fullmatch(r"\d+[mh]", str(rule.get("for", "1m")))
    assert set(annotations) == {"summary", "description", "runbook_url"}
    assert str(annotations["summary"]).endswith(".")
    assert "Next step: " in str(annotations["description"])


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_leads_to_its_paragraph(rule: dict[str, dict[str, str]]) -> None:
    anchor = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", str(rule["alert"])).lower()
    assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{anchor}"
    assert f"`{rule['alert']}`" in (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")


def test_reasons_that_alerts_name_are_those_of_the_bridge() -> None:
    named = {reason for text in expressions().values() for reason in re.findall(r'reason\S?="([^"]*)"', text)}
    assert named
    assert named <= {hold.name.lower() for hold in Hold}
