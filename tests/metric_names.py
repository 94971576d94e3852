"""Every metric that a process exports, as Prometheus names its samples, and those that an expression names."""

from __future__ import annotations

import re

from prometheus_client import CollectorRegistry

from command_api.observe import Metrics as CommandMetrics
from command_api.relay.metrics import RelayCollector, RelayState
from projector.metrics import WorkerMetrics
from projector.refresh.metrics import RefreshMetrics
from read_api.metrics import Metrics as ReadMetrics

_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
_OURS = re.compile(r"\b(?:projection|relay|read_api|command_api)_[a-z0-9_]+\b")
_RECORDED = re.compile(r"\blockstep(?::[a-z0-9_]+)+")


def exported() -> set[str]:
    """Of the relay, the workers, the refresher and both APIs."""
    relay = CollectorRegistry()
    relay.register(RelayCollector(RelayState()))
    registries = (
        relay,
        WorkerMetrics().registry,
        RefreshMetrics().registry,
        CommandMetrics(dict).registry,
        ReadMetrics().registry,
    )
    return {
        family.name + suffix
        for registry in registries
        for family in registry.collect()
        for suffix in _SUFFIXES[family.type]
    }


def named(expression: str) -> set[str]:
    """What an expression takes from the processes."""
    return set(_OURS.findall(expression))


def recorded(expression: str) -> set[str]:
    """What an expression takes from recording rules."""
    return set(_RECORDED.findall(expression))
