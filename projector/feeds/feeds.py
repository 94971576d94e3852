"""The policies of all feeds of a program, as one step sees them: `projector.feeds.policy` says what is called when."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any

from projector.compile.program import Program, ReplicaTable
from projector.feeds.hot import HotAuthors
from projector.feeds.policy import Policy, Row, SideWrite
from projector.replica.images import Images


class Feeds:
    """hot: the policy of hot authors by read model, for those who look on."""

    def __init__(self, connection: sqlite3.Connection, program: Program, images: Images) -> None:
        self.hot = {feed.model: HotAuthors(connection, feed, images) for feed in program.feeds}
        self._policies: dict[str, tuple[Policy, ...]] = {model: (hot,) for model, hot in self.hot.items()}
        tables = {table.fullname: table for table in program.tables.values()}
        for name in {name for policy in self._all() for name in policy.watches}:
            images.watch(name, *_told(tables[name], [policy for policy in self._all() if name in policy.watches]))

    def clear(self, silent: Container[str]) -> None:
        """A batch begins. silent: read models of which nothing is written."""
        for model, policies in self._policies.items():
            for policy in policies:
                policy.clear(silent=model in silent)

    def end(self, committed_at: int) -> None:
        """A transaction ends."""
        for policy in self._all():
            policy.end(committed_at)

    def asked(self, model: str) -> Iterator[Row]:
        """Keys of a read model that policies have written."""
        for policy in self._policies.get(model, ()):
            yield from policy.asked()

    def kept(self, model: str, rows: list[Row]) -> list[Row]:
        """Of a read model's rows, those that are written."""
        for policy in self._policies.get(model, ()):
            rows = policy.kept(rows)
        return rows

    def first(self) -> list[SideWrite]:
        """To be acknowledged before the batch's rows are sent."""
        return [write for policy in self._all() for write in policy.first()]

    def last(self) -> list[SideWrite]:
        """To be written once everything before the replica's commit is acknowledged."""
        return [write for policy in self._all() for write in policy.last()]

    def reset(self) -> None:
        """The batch was rolled back."""
        for policy in self._all():
            policy.reset()

    def _all(self) -> Iterable[Policy]:
        return (policy for policies in self._policies.values() for policy in policies)


def _told(
    table: ReplicaTable, policies: list[Policy]
) -> tuple[Callable[[Row | None, Row | None], None], Callable[[], None]]:
    """(what to call with a row before and after a change, what to call when the table is emptied)."""
    names, fullname = tuple(table.columns), table.fullname

    def named(row: Row | None) -> dict[str, Any] | None:
        return None if row is None else dict(zip(names, row, strict=True))

    def changed(before: Row | None, after: Row | None) -> None:
        for policy in policies:
            policy.changed(fullname, named(before), named(after))

    def emptied() -> None:
        for policy in policies:
            policy.emptied(fullname)

    return changed, emptied
