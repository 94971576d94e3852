"""The rules for Prometheus: made from the declarations, current as committed, and of metrics that there are."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import yaml
from typer.testing import CliRunner

from projections import CATEGORY_REPORT, ORDER_BY_ID, READ_MODELS
from projector.__main__ import app
from projector.alerts import Limits, rules_file
from projector.rule_text import as_yaml
from tests.metric_names import exported, named, recorded

COMMITTED = Path(__file__).parents[3] / "deploy/prometheus/alerts.yml"


def rules(text: str) -> list[dict[str, object]]:
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def test_the_committed_rules_are_those_of_the_declarations() -> None:
    printed = CliRunner().invoke(app, ["alerts"])
    assert printed.exit_code == 0
    assert COMMITTED.read_text() == printed.stdout, "run: projector alerts > deploy/prometheus/alerts.yml"


def test_a_declared_staleness_is_the_bound_of_its_alert() -> None:
    quick = replace(ORDER_BY_ID, staleness=timedelta(milliseconds=250))
    found = {
        rule["labels"]["read_model"]: rule["expr"]  # type: ignore[index]
        for rule in rules(rules_file([quick, CATEGORY_REPORT]))
        if rule.get("record") == "lockstep:staleness_seconds"
    }
    assert found == {"order_by_id": "vector(0.25)"}, "a read model that declares none has no bound"


def test_the_limits_are_in_the_rules() -> None:
    text = rules_file(READ_MODELS, Limits(hold="7s", window="9s", slot_bytes=4711))
    alerts = [rule for rule in rules(text) if "alert" in rule]
    assert {rule["for"] for rule in alerts} == {"7s"}
    assert "relay_slot_retained_bytes > 4711" in {rule["expr"] for rule in alerts}
    assert set(re.findall(r"\[(\w+)\]", text)) == {"9s"}


def test_every_metric_of_the_rules_exists() -> None:
    found = rules(COMMITTED.read_text())
    expressions = " ".join(str(rule["expr"]) for rule in found)
    assert named(expressions) <= exported()
    assert recorded(expressions) <= {str(rule["record"]) for rule in found if "record" in rule}


def test_texts_are_read_as_they_were() -> None:
    value = {
        "a": ["on", "no: really", 'with "quotes" and \\', "lockstep:x_y", "10s", "", "# none", "null"],
        "b": {"c": 1, "d": "é", "e": [{"f": "g", "h": ["i"]}]},
    }
    assert yaml.safe_load(as_yaml(value, comment="two\nlines")) == value
