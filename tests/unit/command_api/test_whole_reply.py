"""A reply that is given at once: the same on the wire as ASGI's two messages, and one write."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from command_api.process.http import Headers, bounded, whole_reply
from command_api.process.settings import Http

GET = b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n"
CLOSING = GET.replace(b"Host", b"Connection: close\r\nHost")
HEADERS: Headers = [(b"etag", b'W/"x"'), (b"content-length", b"4")]


class Application:
    """Answers with its path, at once or in ASGI's messages. cycles: of its requests."""

    def __init__(self, *, at_once: bool, headers: Headers = HEADERS) -> None:
        self.at_once = at_once
        self.headers = headers
        self.cycles: list[weakref.ref[Any]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        cycle = send.__self__  # type: ignore[attr-defined]
        assert isinstance(cycle, RequestResponseCycle)
        self.cycles.append(weakref.ref(cycle))
        await asyncio.sleep(0)  # as whoever asks a store
        body = b"" if scope["method"] == "HEAD" else scope["raw_path"][1:]
        reply = whole_reply(scope)
        assert reply is not None
        if self.at_once:
            await reply(200, self.headers, body)
            return
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        await send({"type": "http.response.body", "body": body})


async def talk(application: Application, said: bytes) -> tuple[bytes, list[bytes]]:
    """What comes back until the connection's end, and in which writes."""
    protocol: Any = bounded(Http(keep_alive_s=60))
    state = ServerState()
    state.default_headers = [(b"date", b"today")]
    config = Config(application, http=protocol, log_config=None, lifespan="off", proxy_headers=False)
    writes: list[bytes] = []

    def made() -> Any:
        one = protocol(config=config, server_state=state, app_state={})
        connection_made = one.connection_made

        def watched(transport: Any) -> None:
            connection_made(transport)
            write = transport.write
            one.transport = Watched(transport, lambda data: (writes.append(bytes(data)), write(data)))

        one.connection_made = watched
        return one

    server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        writer.write(said)
        found = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await writer.wait_closed()
    assert not state.tasks
    return found, writes


class Watched:
    """A transport that tells of its writes."""

    def __init__(self, transport: Any, write: Any) -> None:
        self._transport = transport
        self.write = write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


@pytest.mark.parametrize(
    "said",
    [
        CLOSING % b"abcd",
        GET % b"abcd" + CLOSING % b"efgh",
        GET % b"abcd" + GET % b"efgh" + CLOSING % b"ijkl",
        (CLOSING % b"abcd").replace(b"GET", b"HEAD"),
        b"GET /abcd HTTP/1.0\r\nHost: x\r\n\r\n",
        b"POST /abcd HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ],
    ids=["close", "two", "pipelined", "head", "http-1.0", "expect"],
)
def test_it_is_the_same_on_the_wire(said: bytes) -> None:
    found, writes = asyncio.run(talk(Application(at_once=True), said))
    expected, _ = asyncio.run(talk(Application(at_once=False), said))
    assert found == expected
    assert len(writes) == found.count(b"HTTP/1.1 200 OK\r\ndate: today\r\netag: ")


def test_a_reply_that_closes_does_not_say_so_twice() -> None:
    closing = Application(at_once=True, headers=[*HEADERS, (b"connection", b"close")])
    found, _ = asyncio.run(talk(closing, GET % b"abcd"))
    assert found.count(b"connection: close\r\n") == 1
    assert found.endswith(b"\r\n\r\nabcd")


@pytest.mark.parametrize("value", [b"a\r\nb: c", b"a\nb", b"a\rb", b"a\0", b"\x7f"])
def test_a_header_is_one_line_of_text(value: bytes) -> None:
    found, _ = asyncio.run(talk(Application(at_once=True, headers=[(b"x", value)]), GET % b"abcd"))
    assert found.startswith(b"HTTP/1.1 500")


def test_a_request_that_was_answered_is_kept_by_nobody() -> None:
    application = Application(at_once=True)

    async def run() -> None:
        await talk(application, GET % b"abcd" + GET % b"efgh" + CLOSING % b"ijkl")

    gc.disable()
    try:
        asyncio.run(run())
        assert [cycle() for cycle in application.cycles[:-1]] == [None, None]
    finally:
        gc.enable()
