"""The dashboard and the alert rules as files, and every expression in them."""

import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "deploy" / "grafana" / "enrolment-reconciliation.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"


def dashboard() -> dict[str, Any]:
    """Read the dashboard."""
    read: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return read


def panels() -> list[dict[str, Any]]:
    """List the panels that show something, rows left out."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def alerts() -> list[dict[str, Any]]:
    """List the alert rules."""
    groups = YAML(typ="safe").load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> dict[str, str]:
    """Give every expression of both files by where it stands."""
    found = {
        f"panel {panel['title']!r}, {target['refId']}": target["expr"]
        for panel in panels()
        for target in panel["targets"]
    }
    return found | {f"alert {rule['alert']}": rule["expr"] for rule in alerts()}
