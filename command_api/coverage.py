"""Whether a write can be read: asked of the read API, which knows which read models are made of which tables.

The other way would be to read Cassandra's positions here. That would give the write side a driver, the declarations and
a poller of its own; the read API has them, and one poller serves all who wait.

Promised: an answer within the bound and a second; a read API that is away, refuses or is not configured makes no command
fail, because the command is done by then. The caller's own Authorization goes along and nothing else of the request.
"""

from __future__ import annotations

import asyncio

import httpx

from command_api.process.consistency import HEADER, ConsistencyToken
from command_api.process.logging import get_logger

_CONNECT_S = 1.0
_GRACE_S = 1.0  # beyond the bound: the read API's own answer comes first

_log = get_logger(__name__)


class Coverage:
    """url: of a read API. most_s: the longest wait, whatever a caller prefers."""

    def __init__(self, url: str, most_s: float) -> None:
        self._url = url.rstrip("/")
        self._most_s = most_s
        self._client: httpx.AsyncClient | None = None

    def bound(self, asked_s: float) -> float:
        """How long a caller waits who has asked for so many seconds."""
        return min(asked_s, self._most_s)

    async def reached(self, token: ConsistencyToken, wait_s: float, authorization: str | None) -> bool | None:
        """True once every read model covers the token, False when the bound came first, None when nobody can tell."""
        headers = {HEADER: str(token), "Prefer": f"wait={wait_s:.3f}"}
        if authorization is not None:
            headers["Authorization"] = authorization
        try:
            async with asyncio.timeout(wait_s + _GRACE_S):
                reply = await self._connected().get(f"{self._url}/covered", headers=headers)
            covered = reply.raise_for_status().json()["covered"]
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError, KeyError, TypeError) as error:
            _log.warning("the read API can't say what is covered", error=f"{type(error).__name__}: {error}")
            return None
        return bool(covered)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            # The bound is the caller's; the environment's proxies are not for this.
            self._client = httpx.AsyncClient(timeout=httpx.Timeout(None, connect=_CONNECT_S), trust_env=False)
        return self._client
