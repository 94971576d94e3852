"""The writes of one batch after another, sent by a thread while the next batch is being maintained.

Order kept: within a batch, its upserts are acknowledged before its deletes are sent. Between batches none is needed,
each carries its own timestamp. `finish` returns when everything is acknowledged; only then may the caller commit its
position. The first error ends the thread's work and is raised by the next `submit` or `finish`.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from projector.cassandra.write import Writer

Row = tuple[Any, ...]
_WAITING = 2  # batches handed over and not yet taken: enough to keep both sides busy, little enough to hold


@dataclass(frozen=True, kw_only=True)
class Writes:
    """What one batch writes: (table, whole rows) and (table, keys), at one timestamp."""

    timestamp: int
    upserts: list[tuple[str, Sequence[Row]]] = field(default_factory=list)
    deletes: list[tuple[str, Sequence[Row]]] = field(default_factory=list)


class Pipeline:
    """A writer's thread; nobody else may use the writer between the first `submit` and `finish`."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._queue: queue.Queue[Writes | None] = queue.Queue(_WAITING)
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def submit(self, writes: Writes) -> None:
        """Hand a batch over; blocks while `_WAITING` others wait. Raises what an earlier batch failed with."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="cassandra-writes", daemon=True)
            self._thread.start()
        self._raise()
        self._queue.put(writes)

    def finish(self) -> None:
        """Wait until all is acknowledged; raises the first error."""
        self._queue.join()
        self._raise()

    def close(self) -> None:
        """End the thread, after what it has in hand."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _work(self) -> None:
        while True:
            writes = self._queue.get()
            try:
                if writes is None:
                    return
                if self._error is None:
                    write(self._writer, writes)
                    if self._queue.empty():
                        self._writer.drain()
            except BaseException as error:
                self._error = error
            finally:
                self._queue.task_done()


def write(writer: Writer, writes: Writes) -> None:
    """Send one batch; with deletes it returns when all is acknowledged, without when all is sent."""
    for table, rows in writes.upserts:
        writer.upsert(table, rows, writes.timestamp)
    if writes.deletes:
        writer.drain()  # a row that moves may be in both places for a moment, never in none
        for table, keys in writes.deletes:
            writer.delete(table, keys, writes.timestamp)
        writer.drain()
