"""How far read models are written already, by whoever it was: a lost volume's worker, a second one, this one.

A read model whose published position is ahead of the replica is caught up silently: up to there nothing is written for it.
Promised: a position of another epoch, and a snapshot that would hide deletes, stop the worker with what to do.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from projector.added import AddedColumns
from projector.apply.transaction import Heartbeat, Transaction
from projector.cassandra.write import Writer
from projector.coverage import Target

_LOOK_AGAIN_SECONDS = 30.0

Item = Transaction | Heartbeat


class WorkerError(RuntimeError):
    """The worker can't go on exactly; the message says why and what to do."""


class Published:
    """The positions that were published ahead of one worker. ahead: LSN by read model, as far as is known."""

    def __init__(self, writer: Writer, target: Target, models: Iterable[str], added: AddedColumns) -> None:
        self._writer = writer
        self._target = target
        self._added = added
        self._models = tuple(models)
        self._looked_at = 0.0
        self.ahead: dict[str, int] = {}

    def silent(self, lsn: int) -> set[str]:
        """The read models of which nothing is written at a position."""
        return {name for name, until in self.ahead.items() if lsn <= until}

    def batches(self, items: Iterable[Item], last: int) -> Iterator[list[Item]]:
        """What follows a position, in batches that don't straddle a published one."""
        batch: list[Item] = []
        for item in items:
            if batch and any(last <= bound < item.lsn for bound in self.ahead.values()):
                yield batch
                batch = []
            batch.append(item)
            last = item.lsn
        if batch:
            yield batch

    def look(self, reached: int) -> bool:
        """Learn what is published ahead of a position, now and then: whether it was now.

        Raises WorkerError when another epoch wrote it.
        """
        now = time.monotonic()
        if self._looked_at and now - self._looked_at < _LOOK_AGAIN_SECONDS:
            return False
        self._looked_at = now
        target = self._target
        found = self._writer.read_positions(keyspace=target.keyspace, projection=target.projection)
        self._added.look(found)
        for name in self._models:
            seen = found.get(target.table(name))
            if seen is None:
                continue
            if seen.epoch != target.epoch:
                raise WorkerError(
                    f"read model {name} was written in epoch {seen.epoch}, this worker's is {target.epoch}: a new source history is a"
                    " new table; run `projector reset` for it, or set projector.epoch back"
                )
            written = self._added.written(name, found)
            if written > reached:
                self.ahead[name] = written
        return True

    def check_snapshot(self, begin: int) -> None:
        """A snapshot that begins a replica must not lie past what is published: deletes in between would be unknown."""
        for name, until in self.ahead.items():
            if 0 < until < begin:
                raise WorkerError(
                    f"read model {name} is written up to LSN {until}, and the log begins at {begin}: rows deleted in between"
                    " can't be known. Let a worker with the declarations from before cover it first, or run `projector reset`, so that it"
                    " is filled anew"
                )
