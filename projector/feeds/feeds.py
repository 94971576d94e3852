"""The policies of all feeds of a program, as one step sees them: `projector.feeds.policy` says what is called when."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Any

from projector.compile.program import Program, ReplicaTable
from projector.feeds.cap import Cap
from projector.feeds.hot import HotAuthors
from projector.feeds.inactive import Inactive
from projector.feeds.policy import Policy, Row, SideWrite
from projector.replica.images import Images


class Feeds:
    """hot, inactive, caps: the policies of each kind by read model, for those who look on."""

    def __init__(self, connection: sqlite3.Connection, program: Program, images: Images) -> None:
        self.hot = {feed.model: HotAuthors(connection, feed, images) for feed in program.feeds}
        self.inactive: dict[str, Inactive] = {}
        self.caps: dict[str, Cap] = {}
        for model, policy in ((m, m.feed.policy) for m in program.models if m.feed is not None):
            assert model.newest is not None, "a feed"
            name = model.model.name
            if policy.active is not None:
                self.inactive[name] = Inactive(connection, model, model.newest, policy.active, policy.cap)
            if policy.cap is not None:
                self.caps[name] = Cap(connection, model, model.newest, policy.cap)
        kinds: tuple[Mapping[str, Policy], ...] = (self.hot, self.inactive, self.caps)
        self._policies = {model: tuple(kind[model] for kind in kinds if model in kind) for model in self.hot}
        tables = {table.fullname: table for table in program.tables.values()}
        for name in {name for policy in self._all() for name in policy.watches}:
            images.watch(name, *_told(tables[name], [policy for policy in self._all() if name in policy.watches]))

    def clear(self, silent: Container[str]) -> None:
        """A batch begins. silent: read models of which nothing is written."""
        for model, policies in self._policies.items():
            for policy in policies:
                policy.clear(silent=model in silent)

    def end(self, committed_at: int, *, snapshot: bool = False) -> None:
        """A transaction ends. snapshot: a replica may begin with it."""
        for policy in self._all():
            policy.end(committed_at, snapshot=snapshot)

    def asked(self, model: str) -> Iterator[Row]:
        """Keys of a read model that policies have written."""
        for policy in self._policies.get(model, ()):
            yield from policy.asked()

    @property
    def waiting(self) -> bool:
        """Whether a policy has something put aside."""
        return any(policy.waiting for policy in self._all())

    def work(self, model: str, most: int) -> Iterator[Row]:
        """Keys of a read model that policies have put aside."""
        for policy in self._policies.get(model, ()):
            yield from policy.work(most)

    def complete(self, model: str) -> int:
        """All keys of a read model are touched: touch what that makes necessary; the number of keys that are added."""
        return sum(policy.complete() for policy in self._policies.get(model, ()))

    def wake(self, model: str, reader: Any, at: int) -> None:
        """Somebody asks for a reader's partition, in the batch that comes. at: commit time, microseconds."""
        if model in self.inactive:
            self.inactive[model].asked_for(reader, at)

    def kept(self, model: str, rows: list[Row]) -> list[Row]:
        """Of a read model's rows, those that are written."""
        for policy in self._policies.get(model, ()):
            rows = policy.kept(rows)
        return rows

    def given(self, model: str) -> None:
        """All of a read model's rows have been given to be written."""
        for policy in self._policies.get(model, ()):
            policy.given()

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
