"""What the shipped dashboard and alert rules ask Prometheus for."""

import json
import re
from pathlib import Path

import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
_METRIC = re.compile(r"\b((?:headwater|nv)_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")


def queries() -> list[str]:
    dashboard = json.loads((DEPLOY / "grafana" / "headwater-serving.json").read_text())
    rules = yaml.safe_load((DEPLOY / "prometheus" / "headwater-alerts.yml").read_text())
    shown = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    return shown + [rule["expr"] for group in rules["groups"] for rule in group["rules"]]


def asked() -> set[tuple[str, frozenset[str]]]:
    """Metrics by name, each with the labels by which it is chosen."""
    found = [match for query in queries() for match in _METRIC.finditer(query)]
    return {(match[1], frozenset(_MATCHER.findall(match[2] or ""))) for match in found}
