"""No connection is held without a request: after a reply, too, what is sent has to become a head in time."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from command_api.process.http import bounded
from command_api.process.settings import Http

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def unread(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers without a look at the body."""
    await PlainTextResponse("no")(scope, receive, send)


async def talk(*parts: bytes, head_timeout_ms: int = 100) -> bytes:
    """Send each part once the reply to the one before has begun; all replies, to the connection's end."""
    protocol: Any = bounded(Http(head_timeout_ms=head_timeout_ms, keep_alive_s=60))
    config, state = Config(unread, http=protocol, log_config=None, lifespan="off"), ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        said = b""
        for part in parts:
            writer.write(part)
            if part is not parts[-1]:
                said += await reader.readuntil(b"\r\n\r\nno")
        said += await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await writer.wait_closed()
    return said


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (GET, b"\r\n"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n", b"x"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n", b"xyz"),
    ],
    ids=["line-breaks", "part-of-a-body", "a-body-after-its-reply"],
)
def test_what_comes_after_a_reply_holds_no_connection(first: bytes, then: bytes) -> None:
    said = asyncio.run(talk(first, then))
    assert said.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408" in said


def test_a_long_body_that_nobody_reads_is_no_head() -> None:
    size = 200_000
    body = b"x" * size + GET.replace(b"Host: x\r\n", b"Host: x\r\nConnection: close\r\n")
    said = asyncio.run(
        talk(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size, body, head_timeout_ms=5_000)
    )
    assert said.count(b"HTTP/1.1 200") == 2


def test_an_idle_connection_is_left_to_its_client_to_close() -> None:
    keeps = httpx.Limits().keepalive_expiry
    assert keeps is not None
    assert Http().keep_alive_s > 60 > keeps, (
        "a request sent while the server closes has no answer; 60 s keeps a balancer"
    )
