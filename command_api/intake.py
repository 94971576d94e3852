"""What happens to a request before any route sees it: its body is read whole, bounded, and must be JSON.

Plain ASGI, because reading the body here must not change how it is handed on. A body in parts without a length is
counted as it arrives; nothing beyond the limit is kept.
"""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from command_api.errors import BadRequestError
from command_api.problems import response_of


class Intake:
    """Answers 408, 413, 415 or 400 itself; otherwise `app` receives the body in one message."""

    def __init__(self, app: ASGIApp, max_body_bytes: int, timeout_s: float = 10.0) -> None:
        self._app = app
        self._limit = max_body_bytes
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            self._check_length(headers)
            try:
                async with asyncio.timeout(self._timeout_s):
                    body = await self._read(receive)
            except TimeoutError:
                raise BadRequestError(
                    f"the body did not come within {self._timeout_s:g} s", hint="send it whole", status=408
                ) from None
            if body is None:
                return  # the client has gone
            if body:
                _check_media_type(headers)
        except BadRequestError as error:
            # The rest of such a body is not read: the connection can't carry another request.
            close = {"Connection": "close"} if error.status in (408, 413) else {}
            await response_of(error, close)(scope, receive, send)
            return
        sent = False

        async def once() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, once, send)

    def _too_large(self) -> BadRequestError:
        return BadRequestError(
            f"the body is larger than {self._limit} bytes", hint="split it into several commands", status=413
        )

    def _check_length(self, headers: Headers) -> None:
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            raise BadRequestError("the Content-Length header is not a number", hint="send the body's length in bytes")
        if len(length) > 18 or int(length) > self._limit:
            raise self._too_large()

    async def _read(self, receive: Receive) -> bytes | None:
        chunks, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._limit:
                raise self._too_large()
            chunks.append(chunk)
            more = message.get("more_body", False)
        return b"".join(chunks)


def _check_media_type(headers: Headers) -> None:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise BadRequestError(
            "the body's Content-Type is not application/json", hint="send Content-Type: application/json", status=415
        )
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise BadRequestError(
            "the body has a Content-Encoding", hint="send the JSON uncompressed, without Content-Encoding", status=415
        )
