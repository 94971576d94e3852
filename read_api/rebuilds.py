"""Asks the workers to write a reader's feed anew, through Postgres's own log, when Postgres had to answer for it.

A logical message ``lockstep.rebuild_partition`` ``{"model": …, "keys": [[reader]]}``, the reader in replica form
(`projections.values`): every worker of the read model meets it at the same place of the log. Not promised: that one is
sent for every such read. A reader is asked for once in `AGAIN_S` seconds, and a message that can't be sent is left to
the next read.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import UUID

import msgspec

from command_api.process.logging import get_logger
from read_api.fallback import Fallback, FallbackError

PREFIX = "lockstep.rebuild_partition"
AGAIN_S = 10.0
_MOST = 10_000  # readers that are remembered

_log = get_logger(__name__)


class Rebuilds:
    """Sends the requests in the background; `stop` ends what is under way."""

    def __init__(self, fallback: Fallback) -> None:
        self._fallback = fallback
        self._asked: dict[tuple[str, Any], float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, model: str, reader: Any) -> None:
        """For one reader, a value of the partition key; returns at once."""
        now, key = time.monotonic(), (model, reader)
        if now - self._asked.get(key, float("-inf")) < AGAIN_S:
            return
        self._asked.pop(key, None)
        self._asked[key] = now
        while len(self._asked) > _MOST:
            del self._asked[next(iter(self._asked))]
        task = asyncio.create_task(self._send(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Wait for nothing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _send(self, key: tuple[str, Any]) -> None:
        model, reader = key
        try:
            await self._fallback.say(PREFIX, request(model, reader))
        except FallbackError as error:
            self._asked.pop(key, None)
            _log.warning("rebuild_not_asked", model=model, error=str(error))


def request(model: str, reader: Any) -> str:
    """The content of a message."""
    value = str(reader) if isinstance(reader, UUID) else reader
    return msgspec.json.encode({"model": model, "keys": [[value]]}).decode()
