"""Prometheus's recording and alerting rules, made from what the read models declare. Pure.

Promised: a read model's `staleness` is the bound of its alert, and changing the declaration changes the rule. A lag is
taken from the read APIs, which see it also while a worker is stopped or dead and says nothing itself. Not promised: an
alert for a read model that declares no staleness; nothing is broken there however old it gets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from projections.read_model import ReadModel
from projector.rule_text import as_yaml

LAG = "lockstep:lag_seconds"
STALENESS = "lockstep:staleness_seconds"
_MANY_RECORDS = 1_000  # a worker that idles has read all but a few heartbeats
_COMMENT = (
    "Made from the declared read models by `projector alerts`: change a declaration, or an option of the command, not\n"
    "this file. A test compares them."
)

Rule = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """hold: how long something must be so before it is told. window: that rates are taken over; several scrapes long.

    slot_bytes: of WAL that Postgres may keep for the slot.
    """

    hold: str = "30s"
    window: str = "2m"
    slot_bytes: int = 10 << 30


def rules_file(models: Sequence[ReadModel], limits: Limits | None = None) -> str:
    """The rules as the file that Prometheus reads."""
    limits = limits or Limits()
    groups = [
        {"name": "lockstep-figures", "rules": _figures(limits)},
        # One group is evaluated in order, at one time: an alert sees the lag and the bound that stand above it.
        {"name": "lockstep-alerts", "rules": [*_declared(models), *_alerts(limits)]},
    ]
    return as_yaml({"groups": groups}, comment=_COMMENT)


def _figures(limits: Limits) -> list[Rule]:
    window = limits.window
    written = f"rate(projection_rows_written_total[{window}])"
    deleted = f"rate(projection_rows_deleted_total[{window}])"
    commit = f"sum by (le) (rate(projection_commit_to_written_seconds_bucket[{window}]))"
    read = f'sum by (le, model) (rate(read_api_request_seconds_bucket{{status="200"}}[{window}]))'
    return [
        {"record": "lockstep:rows:rate", "expr": f"sum by (read_model) ({written} + {deleted})"},
        {"record": "lockstep:source_changes:rate", "expr": f"max(rate(projection_source_changes_total[{window}]))"},
        {"record": "lockstep:commit_to_written_seconds:p50", "expr": f"histogram_quantile(0.5, {commit})"},
        {"record": "lockstep:commit_to_written_seconds:p99", "expr": f"histogram_quantile(0.99, {commit})"},
        {"record": "lockstep:read_seconds:p99", "expr": f"histogram_quantile(0.99, {read})"},
    ]


def _declared(models: Sequence[ReadModel]) -> list[Rule]:
    # A read API that is cut off from Cassandra reports a lag that grows: the worst of them is what some reader sees.
    lag = {"record": LAG, "expr": "max by (read_model) (read_api_model_lag_seconds)"}
    return [lag] + [
        {
            "record": STALENESS,
            "expr": f"vector({model.staleness.total_seconds():g})",
            "labels": {"read_model": model.name},
        }
        for model in models
        if model.staleness is not None
    ]


def _alerts(limits: Limits) -> list[Rule]:
    window = limits.window

    def alert(name: str, expr: str, summary: str, description: str, *, severity: str = "page") -> Rule:
        return {
            "alert": name,
            "expr": expr,
            "for": limits.hold,
            "labels": {"severity": severity},
            "annotations": {"summary": summary, "description": description},
        }

    return [
        alert(
            "ReadModelStale",
            f"{LAG} > on (read_model) {STALENESS}",
            "{{ $labels.read_model }} is older than it declares",
            "Readers see a state of {{ $value | humanizeDuration }} ago. `projector status` says what each read model"
            " covers; look for a worker that is away or stuck, a slice, a relay that does not stream.",
        ),
        alert(
            "ReadModelUnknown",
            f"{STALENESS} unless on (read_model) {LAG}",
            "nobody knows how old {{ $labels.read_model }} is",
            "No read API reports its lag: none answers, or no worker has ever covered anything of it.",
        ),
        alert(
            "ProcessAway",
            'up{job=~"lockstep-.+"} == 0',
            "{{ $labels.job }} at {{ $labels.instance }} does not answer",
            "Its metrics can't be read: it ended, is stopped, or can't be reached.",
        ),
        alert(
            "WorkerStuck",
            f"projection_lag_records > {_MANY_RECORDS} and rate(projection_transactions_total[{window}]) == 0",
            "the worker at {{ $labels.instance }} does not get on",
            "The log holds {{ $value | humanize }} records that it has not read, and it applies none: its own log says what it"
            " waits for.",
        ),
        alert(
            "RelayNotStreaming",
            "relay_streaming == 0",
            "the relay at {{ $labels.instance }} captures nothing",
            "`relay status` says whether slot and log fit, the relay's log why it can't.",
        ),
        alert(
            "SlotRetainsWal",
            f"relay_slot_retained_bytes > {limits.slot_bytes}",
            "Postgres keeps {{ $value | humanize1024 }}B of WAL for the slot",
            "It keeps them until the relay confirms them: a relay that is away for long fills the disk of the database.",
        ),
        alert(
            "ReadModelDrifted",
            "projection_drift_rows > 0",
            "{{ $labels.read_model }} differs from its SQL in {{ $value }} rows",
            "Found by the last verification. `projector verify {{ $labels.read_model }} --repair` has them recomputed.",
        ),
        alert(
            "DeadLetters",
            "max by (read_model) (projection_dead_letters) > 0",
            "{{ $labels.read_model }} lacks {{ $value }} rows that Cassandra refuses",
            "Reads of their partitions are answered by Postgres. `projector dead-letters list {{ $labels.read_model }}` has the"
            " reasons; change the values or what refuses them, then `projector dead-letters retry`.",
            severity="ticket",
        ),
        alert(
            "SlicesStalled",
            f"projection_put_aside_keys > 0 and rate(projection_sliced_keys_total[{window}]) == 0",
            "a large change of {{ $labels.read_model }} is not worked off",
            "{{ $value | humanize }} keys are left, and none was recomputed: the read model stays behind until they are.",
        ),
        alert(
            "ScheduledRunFailed",
            "projection_refresh_failing == 1",
            "the last run of {{ $labels.read_model }} failed",
            "Its old rows stand, and it is tried again. The refresher's log has the statement's error.",
            severity="ticket",
        ),
        alert(
            "RequestRefused",
            f"increase(projection_refused_requests_total[{window}]) > 0",
            "the worker at {{ $labels.instance }} could not carry out a request in the log",
            "A repair or a rebuild that was asked for has not happened; the worker's log says which.",
            severity="ticket",
        ),
    ]
