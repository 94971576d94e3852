"""One trace of the whole path: a request's traceparent, the command's span, the write's span as its child.

The spans are sent over OTLP to a receiver in this process, which takes them apart by OpenTelemetry's own definitions.
"""

from __future__ import annotations

import gzip
import secrets
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.e2e.pipeline import Pipeline, listening, wait_for


class Receiver:
    """Spans by the name of their service, as they came."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Span]] = []

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            (service,) = (a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
            self.spans += [(service, span) for scope in resource.scope_spans for span in scope.spans]

    def of(self, service: str, trace: str) -> list[Span]:
        return [span for name, span in self.spans if name == service and span.trace_id.hex() == trace]


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """Where the processes that a test starts send their spans."""
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.take(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Not worth a line each."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield made
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_one_trace_shows_command_and_write(pipeline: Pipeline, receiver: Receiver) -> None:
    pipeline.declare("tests.e2e.models:ORDERS")
    pipeline.set_up()
    trace, parent = secrets.token_hex(16), secrets.token_hex(8)
    with pipeline.running("relay", "projector", "command-api") as (_, worker, commands):
        url = listening(commands)
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:

            def send(traceparent: str | None) -> None:
                headers = {} if traceparent is None else {"traceparent": traceparent}
                reply = client.post("/users", json={"name": "Ann"}, headers=headers)
                assert reply.status_code == 201, reply.text

            send(None)
            send("00-garbled-01")
            send(f"00-{trace}-{parent}-00")  # the caller has decided that this one is not kept
            send(f"00-{trace}-{parent}-01")
        wait_for("the write's span", lambda: receiver.of("projector", trace), 60, worker.tail)
    (command,) = receiver.of("command-api", trace)
    (write,) = receiver.of("projector", trace)
    assert command.name == "POST /users"
    assert command.parent_span_id.hex() == parent
    assert write.parent_span_id == command.span_id, "the write is a part of what the command did"
    assert command.start_time_unix_nano < write.end_time_unix_nano
    assert {attribute.key for attribute in write.attributes} == {"lockstep.lsn", "lockstep.changes"}
    assert len(receiver.spans) == 2, "who asks for no trace makes none"
