"""TLS for a PostgreSQL that was built without it, as the wheel's is: answers SSLRequest, decrypts, passes on.

Whoever does not ask for TLS is refused with PostgreSQL's own error, as ``hostssl`` lines alone in pg_hba.conf would.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
import threading
from collections.abc import Coroutine, Iterator
from typing import Any

_SSL_REQUEST = struct.pack("!II", 8, 80877103)
_REFUSAL_FIELDS = b"SFATAL\0VFATAL\0C28000\0Mno pg_hba.conf entry for this host, no encryption\0\0"
_REFUSAL = b"E" + struct.pack("!I", 4 + len(_REFUSAL_FIELDS)) + _REFUSAL_FIELDS


@contextlib.contextmanager
def tls_endpoint(target: tuple[str, int], certificate: str) -> Iterator[int]:
    """A port on loopback before `target`; `certificate` is a PEM file of key and chain. Closed at the end."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="tls-endpoint", daemon=True)
    thread.start()

    def on_loop(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(10)

    async def serve() -> asyncio.Server:
        return await asyncio.start_server(lambda r, w: _accept(r, w, target, context), "127.0.0.1", 0)

    async def end(server: asyncio.Server) -> None:
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    server = on_loop(serve())
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        on_loop(end(server))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _accept(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: tuple[str, int], context: ssl.SSLContext
) -> None:
    outwards = None
    try:
        if await reader.readexactly(len(_SSL_REQUEST)) != _SSL_REQUEST:
            writer.write(_REFUSAL)
            await writer.drain()
            return
        writer.write(b"S")
        await writer.drain()
        await writer.start_tls(context)
        inwards, outwards = await asyncio.open_connection(*target)
        await asyncio.wait(
            [asyncio.create_task(_pass_on(reader, outwards)), asyncio.create_task(_pass_on(inwards, writer))],
            return_when=asyncio.FIRST_COMPLETED,
        )
    except (OSError, EOFError, asyncio.CancelledError):  # a client without trust goes away, or all is over
        pass
    finally:
        for one in (writer, outwards):
            if one is not None:
                one.close()


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
