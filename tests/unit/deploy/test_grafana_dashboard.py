"""The dashboard: current as committed, laid out without an overlap, and of metrics that there are."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import yaml

from deploy.grafana.dashboard import dashboard, dashboard_file
from tests.metric_names import exported, named, recorded

DEPLOY = Path(__file__).parents[3] / "deploy"
BOARD = dashboard()
EXPRESSIONS = [target["expr"] for panel in BOARD["panels"] for target in panel.get("targets", ())]


def test_the_committed_dashboard_is_the_code_s() -> None:
    committed = (DEPLOY / "grafana/lockstep.json").read_text()
    assert committed == dashboard_file(), "run: python -m deploy.grafana > deploy/grafana/lockstep.json"
    json.loads(committed)


def test_every_metric_on_the_dashboard_exists() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())
    records = {rule.get("record") for group in rules["groups"] for rule in group["rules"]}
    for expression in EXPRESSIONS:
        assert named(expression) | recorded(expression) or "up{" in expression, f"{expression} shows nothing of ours"
        assert named(expression) <= exported(), expression
        assert recorded(expression) <= records, expression


def test_panels_stand_beside_each_other() -> None:
    places = [panel["gridPos"] for panel in BOARD["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for a, b in combinations(places, 2):
        apart = (
            a["x"] + a["w"] <= b["x"]
            or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"]
            or b["y"] + b["h"] <= a["y"]
        )
        assert apart, (a, b)
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(places)


def test_what_grafana_is_told_leads_to_the_dashboard() -> None:
    for file in (DEPLOY / "grafana/provisioning").rglob("*.yml"):
        assert yaml.safe_load(file.read_text())["apiVersion"] == 1, file
