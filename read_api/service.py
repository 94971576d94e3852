"""The parts of a serving process, put together: routes, store, positions, readers, metrics. No HTTP here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from command_api.lsn import Lsn
from command_api.process.settings import Settings
from projections.added_columns import own_positions
from projections.cassandra_table import POSITIONS
from projections.dead_letters import COLUMN
from projections.generations import select_registry
from projections.read_model import ReadModel
from read_api.coverage import Declared
from read_api.cql import Shape
from read_api.dead_letters import DeadLetters
from read_api.declared import routes_of
from read_api.fallback import Fallback
from read_api.freshness import Freshness, Position, PositionRow, covered, of_columns
from read_api.hints import Hints
from read_api.live import Live
from read_api.metrics import Metrics
from read_api.paging import PageSeal
from read_api.rebuilds import Rebuilds
from read_api.rows import Reader
from read_api.source_query import SourceQuery
from read_api.store import Store
from read_api.watch import Watches


class ReadService:
    """Everything that a reply is made of. Usable between `start` and `stop`.

    wait_seconds: the bound on a token's wait. readers, declared, sources: one a read model, by name.
    """

    def __init__(self, settings: Settings, models: Sequence[ReadModel]) -> None:
        self.wait_seconds = settings.read_api.wait_ms / 1000
        self.metrics = Metrics()
        self.routes = routes_of(settings, models)
        self.store = Store(settings.cassandra)
        self.freshness = Freshness(self._positions, self.metrics.waited)
        # Public names: every process of a service opens every other's pages, and pages of another service stay out.
        seal = PageSeal(f"{settings.cassandra.keyspace}\0{settings.projector.projection}".encode())
        self.fallback = Fallback(settings, self.metrics.fell_back) if settings.read_api.fallback_connections else None
        self.sources = {model.name: SourceQuery(model) for model in models}
        self.declared = {model.name: Declared.of(model) for model in models}
        self.rebuilds = Rebuilds(self.fallback) if self.fallback is not None else None
        feeds = {model.name: model for model in models if model.fan_out is not None}
        dead_letters = DeadLetters(self.store, settings.cassandra.keyspace, settings.projector.projection)
        self.live = Live(models, self._registry, self._covered, self.freshness.shown, self._moved)
        self.readers = {
            name: Reader(
                route, self.store, self.freshness, self.live, seal, self.fallback, self.sources[name], self.declared[name],
                feeds.get(name), self.rebuilds, dead_letters,
            )
            for name, route in self.routes.items()
        }  # fmt: skip
        self.watches = Watches(
            self.freshness,
            lambda: self._hints.start(),
            most=settings.read_api.max_streams,
            read_s=settings.http.read_timeout_ms / 1000,
        )
        self._hints = Hints(settings.kafka, self.watches.heard, self.watches.look_at_all)
        self._projection, self._epoch = settings.projector.projection, settings.projector.epoch
        table = f'"{settings.cassandra.keyspace}"."{POSITIONS}"'
        columns = f"read_model, shard, lsn, epoch, committed_at, {COLUMN}"
        self._select_positions = f"SELECT {columns} FROM {table} WHERE projection = ?"
        self._select_registry = select_registry(settings.cassandra.keyspace)

    async def start(self) -> None:
        """Begin to connect to Cassandra; to Postgres only when it is asked."""
        if self.fallback is not None:
            await self.fallback.start()
        forward = (reader.statement(Shape()) for reader in self.readers.values())  # an index is a read model too
        feeds = (reader.stored.feed for reader in self.readers.values())
        merged = (statement for feed in feeds if feed is not None for statement in feed.statements)
        await self.store.start((self._select_positions, self._select_registry, *forward, *merged))
        self.live.start()

    async def stop(self) -> None:
        """Close the connections."""
        await self.watches.stop()
        await self._hints.stop()
        await self.live.stop()
        await self.freshness.stop()
        if self.rebuilds is not None:
            await self.rebuilds.stop()
        if self.fallback is not None:
            await self.fallback.stop()
        await self.store.stop()

    async def _registry(self) -> Sequence[tuple[Any, ...]]:
        return (await self.store.read(self._select_registry, (self._projection,))).rows

    async def _covered(self) -> Mapping[str, Lsn]:
        return {table: position.lsn for table, position in (await self._by_table()).items()}

    def _moved(self) -> None:
        """Other generations are read from now on."""
        self.freshness.forget()
        self.watches.look_at_all()

    async def _positions(self) -> Mapping[str, Position]:
        await self.live.known()
        of = await self._by_table()
        # After the last wait, so that these are of the generations that are read when they arrive.
        return {
            name: of_columns(of[table], tuple(own_positions(of, table, route.table.columns).values()))
            for name, route in self.routes.items()
            if (table := self.live.table(name)) in of
        }

    async def _by_table(self) -> Mapping[str, Position]:
        rows = (await self.store.read(self._select_positions, (self._projection,))).rows
        return covered(
            (
                PositionRow(
                    read_model=model,
                    shard=shard,
                    lsn=lsn or 0,
                    epoch=epoch or 0,
                    committed_at=committed_at,
                    dead_letters=dead_letters or 0,
                )
                for model, shard, lsn, epoch, committed_at, dead_letters in rows
            ),
            self._epoch,
        )
