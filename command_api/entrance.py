"""Who is asking, settled before a byte of the body is read: the caller in ``scope["state"]``, or 401.

What the caller may do is the route's question (`command_api.acting`), which has a command's group and fields.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from command_api.errors import RefusedAccessError
from command_api.problems import response_of
from command_api.process.access.errors import AccessError
from command_api.process.access.gate import PUBLIC, Gate

CALLER = "caller"
_METRICS = "/metrics"


class Entrance:
    """Lets `app` have requests of known callers, and those of public paths.

    max_body_bytes: a larger body of somebody unknown ends the connection, a smaller one is passed over.
    """

    def __init__(self, app: ASGIApp, gate: Gate, max_body_bytes: int) -> None:
        self._app = app
        self._gate = gate
        self._limit = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and scope["path"] not in PUBLIC:
            try:
                caller = self._gate.admit(scope["headers"], scope["query_string"])
                if scope["path"] == _METRICS:
                    caller.require_metrics()
            except AccessError as error:
                close = {} if self._is_small(Headers(scope=scope)) else {"Connection": "close"}
                await response_of(RefusedAccessError(error), close)(scope, receive, send)
                return
            scope.setdefault("state", {})[CALLER] = caller
        await self._app(scope, receive, send)

    def _is_small(self, headers: Headers) -> bool:
        length = headers.get("content-length", "0")
        return (
            length.isdecimal()
            and len(length) <= 18
            and int(length) <= self._limit
            and "transfer-encoding" not in headers
        )
