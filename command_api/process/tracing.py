"""Trace context (W3C traceparent) from a request to the rows that follow from it, as OpenTelemetry spans.

    request ─ span of the command ─ message `lockstep.trace` in its transaction ─ log ─ span of the write, a child of it

The message is written for every request that brings a traceparent, so that the path carries it whoever looks. Spans are
made where the extra `tracing` is installed and OTEL_EXPORTER_OTLP_ENDPOINT says where to; the SDK's other OTEL_…
variables hold too. Not promised: that a span arrives. A collector that is away costs spans, never a command or a write.
"""

from __future__ import annotations

import importlib.util
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from command_api.process.logging import get_logger

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

HEADER = "traceparent"
MESSAGE = "lockstep.trace"
"""Prefix of the message in the log; its content is a traceparent."""

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TIMEOUT_S = 2  # of sending spans, also of the last ones when the process ends

_log = get_logger(__name__)

Attributes = Mapping[str, str | int]


def parse(text: str | None) -> str | None:
    """A traceparent that can be followed; None for none and for what is none, which the standard has one ignore."""
    return text if text is not None and _TRACEPARENT.fullmatch(text) else None


class Tracing:
    """The spans of one process. service: its name in them."""

    def __init__(self, service: str) -> None:
        self._provider = _provider(service) if any(os.environ.get(name) for name in _ENDPOINTS) else None

    @contextmanager
    def span(self, name: str, parent: str, attributes: Attributes) -> Iterator[str]:
        """A span around the block; yields the traceparent for what follows from it, `parent` itself without spans."""
        began = time.time_ns()
        own = _Own()
        try:
            yield own.follow(self._provider, name, parent, attributes, began)
        except BaseException:
            own.end(failed=True)
            raise
        own.end()

    def past(self, name: str, parent: str, attributes: Attributes, *, began_us: int, ended_us: int) -> None:
        """A span of what is over; times in microseconds since 1970."""
        own = _Own()
        own.follow(self._provider, name, parent, attributes, began_us * 1000)
        own.end(at=max(began_us, ended_us) * 1000)


class _Own:
    """One span, or none."""

    def __init__(self) -> None:
        self._span: Span | None = None

    def follow(
        self, provider: TracerProvider | None, name: str, parent: str, attributes: Attributes, began: int
    ) -> str:
        if provider is None:
            return parent
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = TraceContextTextMapPropagator().extract({HEADER: parent})
        span = provider.get_tracer("lockstep").start_span(
            name, context, SpanKind.SERVER, attributes=dict(attributes), start_time=began
        )
        self._span = span
        of = span.get_span_context()
        return f"00-{of.trace_id:032x}-{of.span_id:016x}-{of.trace_flags:02x}"

    def end(self, *, at: int | None = None, failed: bool = False) -> None:
        if self._span is None:
            return
        if failed:
            from opentelemetry.trace import StatusCode

            self._span.set_status(StatusCode.ERROR)
        self._span.end(at)


def _provider(service: str) -> TracerProvider | None:
    if importlib.util.find_spec("opentelemetry") is None or any(
        importlib.util.find_spec(name) is None for name in ("opentelemetry.sdk", "opentelemetry.exporter")
    ):
        _log.warning("no spans are sent: install lockstep-projections[tracing]", asked_by=" or ".join(_ENDPOINTS))
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=_TIMEOUT_S)))
    return provider
