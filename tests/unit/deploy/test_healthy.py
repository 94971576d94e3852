"""The health check of containers: 0 for 200, and for all else 1 with what was answered."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from deploy.healthy import problem


@pytest.fixture
def server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            ready = self.path == "/ready"
            self.send_response(200 if ready else 503)
            self.end_headers()
            self.wfile.write(b"ready" if ready else b"the log is away")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{made.server_address[1]}"
        made.shutdown()
        thread.join()


def test_ready_is_silent(server: str) -> None:
    assert problem(f"{server}/ready") == ""


def test_what_is_not_ready_says_why(server: str) -> None:
    assert problem(f"{server}/") == f"{server}/ answers 503: the log is away"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/readyz", "nonsense"])
def test_nothing_there_is_no_traceback_and_exit_code_1(url: str) -> None:
    ended = subprocess.run([sys.executable, "-m", "deploy.healthy", url], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"{url} does not answer: "), ended.stderr
    assert len(ended.stderr.splitlines()) == 1
