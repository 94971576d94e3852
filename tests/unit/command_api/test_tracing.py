"""Which trace contexts are followed, and what a process does without an exporter."""

from __future__ import annotations

import subprocess
import sys

import pytest

from command_api.process.tracing import Tracing, parse

GOOD = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "01" + GOOD[2:],
        GOOD.upper(),
        GOOD + "-00",
        GOOD.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        GOOD.replace("b7ad6b7169203331", "0" * 16),
        GOOD + "\n",
        "00-abc-def-01",
    ],
)
def test_what_is_no_trace_context_is_none(text: str | None) -> None:
    assert parse(text) is None
    assert parse(GOOD) == GOOD


def test_without_an_exporter_the_context_passes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    tracing = Tracing("here")
    with tracing.span("a command", GOOD, {}) as follow:
        assert follow == GOOD
    tracing.past("a write", GOOD, {}, began_us=1, ended_us=2)


def test_without_the_extra_a_process_says_so_and_runs() -> None:
    code = (
        "import sys, importlib.util as u\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name.startswith('opentelemetry') else find(name, *a)\n"
        "from command_api.process.tracing import Tracing\n"
        "with Tracing('here').span('a', sys.argv[1], {}) as follow: assert follow == sys.argv[1]\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, GOOD],
        env={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    assert "lockstep-projections[tracing]" in ended.stdout + ended.stderr
