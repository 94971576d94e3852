"""What a policy of a feed may do in a batch; `projector.feeds.feeds` calls it in this order, for every batch:

    changed, emptied     each change of a table that it watches, in log order, before the replica has it
    end                  each transaction's end: the place to decide, so that decisions don't depend on batches
    asked                keys to write beside those that the images touch, once the replica has the batch's rows
    work                 keys of what it has put aside; in slices too, which have no changes and are not asked
    complete             all keys are touched now: others that this makes necessary
    kept                 which of the rows that are true now are written
    given                all rows that are written have been sent: the place for what those need not wait for
    first                rows of side tables that must be acknowledged before the batch's rows and deletes are sent
    last                 at the replica's commit, everything before being acknowledged: what ends a policy's debts

A side table's row carries the position's timestamp like any other row, and says what is true there; whoever writes it again
writes the same. All state is in the replica, within its transaction: a rollback takes it back (`reset` forgets the rest).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Row = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class SideWrite:
    """Rows, or with `delete` keys, of a table beside a read model's own. table: its name without the keyspace."""

    table: str
    rows: tuple[Row, ...]
    delete: bool = False


class Policy:
    """A policy that does nothing; each overrides what it needs."""

    @property
    def watches(self) -> frozenset[str]:
        """Full names of the source tables whose changes it is told of."""
        return frozenset()

    def changed(self, table: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> None:
        """A row of a watched table as it was and is, in replica form; None for one that is not there."""

    def emptied(self, table: str) -> None:
        """A watched table was truncated."""

    def end(self, committed_at: int, *, snapshot: bool = False) -> None:
        """A transaction ends; its commit time in microseconds. snapshot: a replica may begin with it, and know nothing older."""

    def asked(self) -> Iterable[Row]:
        """Keys of the read model to be written whether or not something touched them."""
        return ()

    @property
    def waiting(self) -> bool:
        """Whether it has something put aside."""
        return False

    def work(self, most: int) -> Iterable[Row]:
        """Keys of what is put aside, about `most`."""
        return ()

    def complete(self) -> int:
        """Touch what the touched keys make necessary; returns how many keys that adds. Not called when none are."""
        return 0

    def kept(self, rows: list[Row]) -> list[Row]:
        """Of whole rows of the read model, key first: those that are to be written."""
        return rows

    def given(self) -> None:
        """All touched keys' rows have been given to be written. Not called when none are touched, or the batch is silent."""

    def first(self) -> Iterable[SideWrite]:
        """What must be acknowledged before the batch's rows are sent."""
        return ()

    def last(self) -> Iterable[SideWrite]:
        """What is written once everything since the last commit is acknowledged, before the position is."""
        return ()

    def clear(self, *, silent: bool) -> None:
        """A batch begins; silent: nothing of it is written, because it was."""

    def reset(self) -> None:
        """The batch was rolled back."""
