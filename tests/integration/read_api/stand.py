"""The read API over tables that a test fills by hand: declarations of every type, a keyspace, the application in this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    DateTime,
    Float,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    Uuid,
    select,
)
from sqlalchemy import BigInteger as Big
from sqlalchemy import Date as SqlDate
from sqlalchemy import Time as SqlTime
from sqlalchemy.dialects.postgresql import JSONB

from command_api.process.settings import Settings
from projections import READ_MODELS
from projections.cassandra_table import POSITIONS, cassandra_table, write_timestamp
from projections.read_model import ReadModel, descending
from read_api.app import ReadApi as Application

if TYPE_CHECKING:
    from cassandra.cluster import Session


VALUES = Table(
    "all_values",
    MetaData(),
    *(
        Column(name, kind)
        for name, kind in {
            "t": Text(),
            "n": Numeric(12, 2),
            "d": SqlDate(),
            "z": DateTime(timezone=True),
            "ts": DateTime(),
            "s": SmallInteger(),
            "i": Integer(),
            "b": Big(),
            "u": Uuid(),
            "ok": Boolean(),
            "f": Float(),
            "x": LargeBinary(),
            "j": JSONB(),
            "a": ARRAY(Integer()),
            "h": SqlTime(),
            "v": Interval(),
            "m": Numeric(),
        }.items()
    ),
)

# Every type that can be a key is one here; the others are carried.
BY_TEXT = ReadModel(
    name="by_text",
    select=select(VALUES),
    partition_key=("t", "n", "d"),
    clustering_key=(descending("z"), "ts", "s", "i", "b", "u", "ok", "h", "x"),
)

BY_NUMBER = ReadModel(
    name="by_number",
    select=select(VALUES.c.b, VALUES.c.i, VALUES.c.t),
    partition_key=("b",),
    clustering_key=(descending("i"), "t"),
)

ONE = ReadModel(name="one", select=select(VALUES.c.t, VALUES.c.b), partition_key=("t",))

MODELS = (BY_TEXT, BY_NUMBER, ONE)

Get = Callable[..., Awaitable[httpx.Response]]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A keyspace with tables, and how to fill it. make: tables of one more read model, if they are not there yet."""

    session: Session
    settings: Settings
    make: Callable[[ReadModel], None]

    def insert(self, model: ReadModel, rows: Sequence[Sequence[Any]], lsn: int = 1) -> None:
        """Whole rows in the order of the table's columns, as a worker would write them at `lsn`."""
        statement = self.session.prepare(
            cassandra_table(model, self.settings.cassandra.keyspace).insert() + " USING TIMESTAMP ?"
        )
        futures = [self.session.execute_async(statement, (*row, write_timestamp(1, lsn))) for row in rows]
        for future in futures:
            future.result()

    def cover(self, model: ReadModel, lsn: int, *, shard: int = 0, age: float = 0.0) -> None:
        """Publish a position whose transaction committed `age` seconds ago."""
        committed = int((time.time() - age) * 1e6)
        self.session.execute(
            f"INSERT INTO {self.settings.cassandra.keyspace}.{POSITIONS}"
            " (projection, read_model, shard, lsn, epoch, committed_at) VALUES (%s, %s, %s, %s, 1, %s)"
            f" USING TIMESTAMP {write_timestamp(1, lsn)}",
            (self.settings.projector.projection, model.name, shard, lsn, committed),
        )


@asynccontextmanager
async def serving(settings: Settings, models: Sequence[ReadModel] = (*MODELS, *READ_MODELS)) -> AsyncIterator[Get]:
    """The application, connected; yields a GET."""
    application = Application(settings, models)
    await application.service.start()
    try:
        await asyncio.wait_for(application.service.store.connected(), 20)
        transport = httpx.ASGITransport(app=application, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client.get
    finally:
        await application.service.stop()


def refusal(response: httpx.Response, status: int) -> dict[str, Any]:
    """The problem of a response."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["detail"]
    assert problem["hint"]
    return problem
