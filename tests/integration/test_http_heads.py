"""Heads that are no HTTP, or too long: refused as every refusal is, and the connection closed."""

from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit

import pytest

from tests.integration.command_server import PROBLEM, Api


@pytest.mark.parametrize(
    ("parts", "status", "kind"),
    [
        ([b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ", *[b"x" * 8_192] * 9], 431, "too-large"),
        ([b"NONSENSE\r\n\r\n"], 400, "bad-request"),
        ([b"GET /healthz HTTP/1.1\r\nHost x\r\n\r\n"], 400, "bad-request"),
        ([b"GET http://[x HTTP/1.1\r\nHost: x\r\n\r\n"], 400, "bad-request"),
    ],
)
def test_a_head_that_is_none_is_refused(api: Api, parts: list[bytes], status: int, kind: str) -> None:
    where = urlsplit(api.url)
    with socket.create_connection((where.hostname, where.port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
        reply = b""
        while received := connection.recv(65_536):  # to its end: the server closes
            reply += received
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.split()[1] == str(status).encode()
    assert PROBLEM.encode() in head
    assert json.loads(body)["type"] == f"urn:lockstep:problem:{kind}"
    assert api.http.get("/healthz").status_code == 200
