"""The dashboard, a row of panels a question: is it fresh, does it keep up, is anything in trouble, how do reads do. Pure.

Promised: the same JSON each time, with the identifiers of panels in their order; every expression names metrics that the
processes export or the rules of ``deploy/prometheus`` record, which a test looks up. The data source is a variable.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

UID: Final = "lockstep"
_WIDTH: Final = 24
_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
_MODEL: Final = 'read_model=~"$model"'


@dataclass(frozen=True, kw_only=True)
class Panel:
    """targets: expression to legend. unit: Grafana's name of it. width: of 24 columns. kind: timeseries or stat.

    alarm: the value from which on a stat is red; None is never.
    """

    title: str
    targets: dict[str, str]
    unit: str = "short"
    width: int = 8
    kind: str = "timeseries"
    alarm: float | None = None
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """title: the question. height: in Grafana's units, of about 30 pixels."""

    title: str
    panels: tuple[Panel, ...] = field(default_factory=tuple)
    height: int = 8


ROWS: Final = (
    Row(
        title="Now",
        height=4,
        panels=(
            Panel(
                title="Read models older than they declare",
                targets={"count(lockstep:lag_seconds > on (read_model) lockstep:staleness_seconds) or vector(0)": ""},
                kind="stat",
                width=4,
                alarm=1,
            ),
            Panel(title="Largest lag", targets={"max(lockstep:lag_seconds)": ""}, unit="s", kind="stat", width=4),
            Panel(
                title="Processes that answer",
                targets={'count(up{job=~"lockstep-.+"} == 1)': ""},
                kind="stat",
                width=4,
            ),
            Panel(
                title="WAL kept for the slot",
                targets={"max(relay_slot_retained_bytes)": ""},
                unit="bytes",
                kind="stat",
                width=4,
                alarm=10 << 30,
            ),
            Panel(
                title="Keys put aside",
                targets={"sum(projection_put_aside_keys) or vector(0)": ""},
                kind="stat",
                width=4,
            ),
            Panel(
                title="Rows that differ from their SQL",
                targets={"sum(projection_drift_rows)": ""},
                kind="stat",
                width=4,
                alarm=1,
                description="Found by the last verification of each read model; empty when nothing verifies.",
            ),
        ),
    ),
    Row(
        title="Is it fresh?",
        panels=(
            Panel(
                title="Lag by read model, and what is declared",
                targets={
                    f"lockstep:lag_seconds{{{_MODEL}}}": "{{read_model}}",
                    f"max(lockstep:staleness_seconds{{{_MODEL}}})": "declared staleness",
                },
                unit="s",
                width=12,
                description="As the read APIs see it: now minus the commit time of what a read model covers.",
            ),
            Panel(
                title="Commit to written",
                targets={
                    "lockstep:commit_to_written_seconds:p50": "p50",
                    "lockstep:commit_to_written_seconds:p99": "p99",
                },
                unit="s",
                width=6,
            ),
            Panel(
                title="Behind the log",
                targets={
                    "relay_lag_seconds": "relay {{instance}}",
                    f"max by (instance) (projection_lag_seconds{{{_MODEL}}})": "worker {{instance}}",
                },
                unit="s",
                width=6,
            ),
        ),
    ),
    Row(
        title="Does it keep up?",
        panels=(
            Panel(
                title="Source changes",
                targets={
                    "lockstep:source_changes:rate": "applied",
                    "rate(relay_changes_total[$__rate_interval])": "captured",
                },
                unit="ops",
            ),
            Panel(
                title="Rows written and deleted",
                targets={f"lockstep:rows:rate{{{_MODEL}}}": "{{read_model}}"},
                unit="ops",
            ),
            Panel(
                title="Write amplification",
                targets={f"sum by (read_model) (projection_write_amplification{{{_MODEL}}})": "{{read_model}}"},
                description="Rows written for each source change, since the worker's start.",
            ),
            Panel(
                title="Time of a batch, by phase",
                targets={
                    "sum by (phase) (rate(projection_phase_seconds_sum[$__rate_interval]))"
                    " / sum by (phase) (rate(projection_phase_seconds_count[$__rate_interval]))": "{{phase}}"
                },
                unit="s",
            ),
            Panel(
                title="Log records not read yet",
                targets={"projection_lag_records": "{{instance}}"},
            ),
            Panel(
                title="Writes saved by a column's budget",
                targets={
                    f"sum by (read_model) (rate(projection_budget_saved_writes_total{{{_MODEL}}}[$__rate_interval]))": "{{read_model}}"
                },
                unit="ops",
            ),
        ),
    ),
    Row(
        title="Is anything in trouble?",
        panels=(
            Panel(
                title="Keys of large changes still to be worked off",
                targets={f"projection_put_aside_keys{{{_MODEL}}}": "{{read_model}}"},
            ),
            Panel(
                title="WAL kept for the slot",
                targets={"relay_slot_retained_bytes": "{{instance}}"},
                unit="bytes",
            ),
            Panel(
                title="Writes repeated, streams reopened",
                targets={
                    "sum by (kind) (rate(projection_retries_total[$__rate_interval]))": "batch: {{kind}}",
                    "rate(relay_sessions_total[$__rate_interval])": "relay stream",
                },
                unit="ops",
            ),
            Panel(
                title="Drift found, keys repaired",
                targets={
                    f"projection_drift_rows{{{_MODEL}}}": "differ: {{read_model}}",
                    f"sum by (read_model) (increase(projection_repaired_keys_total{{{_MODEL}}}[$__rate_interval]))": "repaired: {{read_model}}",
                },
            ),
            Panel(
                title="Rows that Cassandra refuses",
                targets={f"max by (read_model) (projection_dead_letters{{{_MODEL}}})": "{{read_model}}"},
                description="Dead letters: reads of their partitions are answered by Postgres.",
            ),
            Panel(
                title="Scheduled runs",
                targets={
                    "sum by (read_model, outcome) (increase(projection_refresh_runs_total[$__rate_interval]))": "{{read_model}} {{outcome}}"
                },
            ),
            Panel(
                title="Documents cut at their bound",
                targets={
                    f"sum by (read_model) (rate(projection_documents_truncated_total{{{_MODEL}}}[$__rate_interval]))": "{{read_model}}"
                },
                unit="ops",
            ),
        ),
    ),
    Row(
        title="How do reads and commands do?",
        panels=(
            Panel(
                title="Reads, p99",
                targets={'lockstep:read_seconds:p99{model=~"$model"}': "{{model}}"},
                unit="s",
            ),
            Panel(
                title="Reads by status",
                targets={"sum by (status) (rate(read_api_request_seconds_count[$__rate_interval]))": "{{status}}"},
                unit="reqps",
            ),
            Panel(
                title="Tokens: waited for, answered by Postgres, neither",
                targets={
                    "sum(rate(read_api_token_wait_seconds_count[$__rate_interval]))": "waited",
                    "sum(rate(read_api_fallbacks_total[$__rate_interval]))": "Postgres",
                    "sum(rate(read_api_fallbacks_refused_total[$__rate_interval]))": "neither",
                },
                unit="reqps",
            ),
            Panel(
                title="Commands by status",
                targets={"sum by (status) (rate(command_api_request_seconds_count[$__rate_interval]))": "{{status}}"},
                unit="reqps",
            ),
        ),
    ),
)


def dashboard_file() -> str:
    """The JSON that Grafana loads."""
    return json.dumps(dashboard(), indent=1) + "\n"


def dashboard() -> dict[str, Any]:
    """Grafana's model of the dashboard."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row in ROWS:
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": row.title, "collapsed": False, "panels": []}
            | _at(0, top, 24, 1)
        )
        top += 1
        left = 0
        for panel in row.panels:
            if left + panel.width > _WIDTH:
                left, top = 0, top + row.height
            panels.append({"id": len(panels) + 1} | _panel(panel) | _at(left, top, panel.width, row.height))
            left += panel.width
        top += row.height
    return {
        "uid": UID,
        "title": "Lockstep projections",
        "tags": ["lockstep"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "graphTooltip": 1,
        "templating": {"list": [_SOURCE_VARIABLE, _MODEL_VARIABLE]},
        "annotations": {"list": [_ALERTS]},
        "panels": panels,
    }


def _panel(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "text" if panel.kind == "stat" else "green", "value": None}]
    if panel.alarm is not None:
        steps.append({"color": "red", "value": panel.alarm})
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    options: dict[str, Any] = {
        "tooltip": {"mode": "multi", "sort": "desc"},
        "legend": {"displayMode": "list", "placement": "bottom"},
    }
    if panel.kind == "stat":
        options = {"colorMode": "value", "graphMode": "area", "reduceOptions": {"calcs": ["lastNotNull"]}}
    else:
        defaults["custom"] = {"lineWidth": 1, "fillOpacity": 8, "showPoints": "never"}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {"refId": chr(ord("A") + place), "expr": expression, "legendFormat": legend, "datasource": _SOURCE}
            for place, (expression, legend) in enumerate(panel.targets.items())
        ],
    }


def _at(x: int, y: int, width: int, height: int) -> dict[str, Any]:
    return {"gridPos": {"x": x, "y": y, "w": width, "h": height}}


_SOURCE_VARIABLE: Final = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
_MODEL_VARIABLE: Final = {
    "name": "model",
    "label": "Read model",
    "type": "query",
    "datasource": _SOURCE,
    "query": {"query": "label_values(lockstep:lag_seconds, read_model)", "refId": "model"},
    "refresh": 2,
    "multi": True,
    "includeAll": True,
    "allValue": ".*",
    "current": {"text": "All", "value": "$__all"},
}
_ALERTS: Final = {
    "name": "Alerts",
    "datasource": _SOURCE,
    "enable": True,
    "iconColor": "red",
    "expr": 'ALERTS{alertstate="firing", alertname=~"ReadModel.*|ProcessAway|WorkerStuck|RelayNotStreaming|SlotRetainsWal|SlicesStalled|DeadLetters"}',
    "titleFormat": "{{alertname}} {{read_model}}",
}
