"""What a process without an API of its own says of itself, over HTTP on its metrics port and on a thread of its own.

    GET /healthz   200: the process runs; a supervisor that gets no answer restarts it
    GET /readyz    200 {"status": "ready"}, or 503 {"status": "not ready", "reason": …}: whether it can do its job now
    GET /metrics   Prometheus's text format

No token is asked for: nothing here is of the data. Whoever binds it elsewhere than to loopback shows figures and reasons,
which name servers but hold no secret.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from command_api.process.logging import mask_text

_JSON: Final = "application/json"
_REQUEST_S: Final = 10.0  # a client that says nothing more holds a thread no longer


class Probes:
    """Serves until `close`. reason: why the process can't do its job now, empty when it can; asked on each request.

    Raises OSError when the address can't be listened on.
    """

    def __init__(self, registry: CollectorRegistry, reason: Callable[[], str], host: str, port: int) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = _REQUEST_S

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    self._answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)
                elif path == "/healthz":
                    self._answer(200, b'{"status": "ok"}', _JSON)
                elif path == "/readyz":
                    self._ready(mask_text(reason()))
                else:
                    self._answer(404, b'{"paths": ["/metrics", "/healthz", "/readyz"]}', _JSON)

            def _ready(self, why: str) -> None:
                told = {"status": "not ready", "reason": why} if why else {"status": "ready"}
                self._answer(503 if why else 200, json.dumps(told).encode(), _JSON)

            def _answer(self, status: int, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Scrapes are not worth a line each."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="probes", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
