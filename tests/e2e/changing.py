"""A small schema whose tables and declarations change, as tests see it: the tables, releases of read models, load, checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from threading import Event, Thread
from typing import Any

import psycopg
from cassandra.cluster import Session
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Enum,
    ForeignKey,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    func,
    select,
)

from command_api.process.settings import Settings
from projections.read_model import ReadModel
from tests.e2e import compare
from tests.e2e.pipeline import Pipeline, Process, wait_for


def _tables(*late: Column[Any], without: Sequence[str] = ()) -> MetaData:
    """The tables as a release knows them. late: columns that it has beyond the first one's; without: those that it has not."""
    metadata = MetaData()
    Table("people", metadata, Column("person_id", BigInteger, primary_key=True), Column("name", Text, nullable=False))
    columns: list[Column[Any]] = [
        Column("ware_id", BigInteger, primary_key=True),
        Column("person_id", BigInteger, ForeignKey("people.person_id"), nullable=False),
        Column("price", Numeric(10, 2), nullable=False),
        Column("stock", Integer, nullable=False),
        Column("code", String(20)),
        Column("state", Enum("new", "used", name="ware_state"), nullable=False),
        Column("made_at", DateTime, nullable=False),
        Column("note", Text),
        Column("spare", Text),
        *late,
    ]
    Table("wares", metadata, *(column for column in columns if column.name not in without))
    return metadata


def _release(metadata: MetaData, *more: str, extreme: bool = False) -> tuple[ReadModel, ...]:
    """Its read models. more: columns of wares that it declares beyond the first release's."""
    people, wares = metadata.tables["people"], metadata.tables["wares"]
    first = [c for c in ("price", "stock", "code", "state", "made_at") if c in wares.c]
    by_person = select(
        wares.c.person_id,
        wares.c.ware_id,
        *(wares.c[name] for name in first),
        people.c.name.label("maker"),
        *(wares.c[name] for name in more),
    ).join(people, people.c.person_id == wares.c.person_id)
    counted = [func.count().label("wares"), func.sum(wares.c.stock).label("stock")]
    if extreme:
        counted.append(func.max(wares.c.price).label("dearest"))
    return (
        ReadModel(name="wares_by_person", select=by_person, partition_key=("person_id",), clustering_key=("ware_id",)),
        ReadModel(
            name="stock_by_person",
            select=select(wares.c.person_id, *counted).group_by(wares.c.person_id),
            partition_key=("person_id",),
        ),
    )


METADATA = _tables()
FIRST = _release(METADATA)
WIDER = _release(METADATA, "note", extreme=True)
LATE = _release(_tables(Column("grade", Integer, nullable=False)), "grade")
WITHOUT_CODE = _release(_tables(without=("code",)))
TABLES = ("public.people", "public.wares")


def releasing(pipeline: Pipeline, release: str) -> None:
    """Have the pipeline's next processes declare a release, an attribute of this module."""
    name = f"tests.e2e.changing:{release}"
    pipeline.settings = pipeline.with_settings(
        relay={"metadata": "tests.e2e.changing:METADATA", "tables": TABLES},
        projector={"read_models": name, "metadata": "tests.e2e.changing:METADATA"},
        read_api={"read_models": name},
    )


class Source:
    """The tables in Postgres and what happens in them."""

    def __init__(self, settings: Settings, seed: int, wares: int = 300) -> None:
        self.connection = psycopg.connect(settings.postgres.admin.get_secret_value(), autocommit=True)
        self.publication = settings.relay.publication
        self._random = Random(seed)
        self._next = 1
        self.usual: dict[str, str] = {}  # SQL of what each new ware has beside
        self.run("set timezone = 'UTC'")
        self.run("create type ware_state as enum ('new', 'used')")
        compare.create_tables(self.connection, METADATA)
        self.run("grant select on all tables in schema public to lockstep_reader")
        self.run("insert into people select i, 'Person ' || i from generate_series(1, 20) i on conflict do nothing")
        for _ in range(wares):
            self.insert()

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        """One statement, by itself."""
        cursor = self.connection.execute(sql.encode())
        return cursor.fetchall() if cursor.description is not None else []

    def insert(self, **more: str) -> None:
        """A ware. more: SQL of columns beyond the usual ones."""
        values = {
            "ware_id": str(self._next),
            "person_id": str(self._random.randint(1, 20)),
            "price": f"{self._random.randint(1, 99_999) / 100}",
            "stock": str(self._random.randint(0, 1_000)),
            "state": self._random.choice(["'new'", "'used'"]),
            "made_at": "now()",
            **more,
        }
        self._next += 1
        self.run(f"insert into wares ({', '.join(values)}) values ({', '.join(values.values())})")

    def fill(self, wares: int) -> None:
        """So many wares at once, each with a note."""
        self.run(
            "insert into wares (ware_id, person_id, price, stock, state, made_at, note) select i, 1 + i % 20, i % 900 / 7.0, i % 90,"
            f" 'new', now(), 'note ' || i from generate_series({self._next}, {self._next + wares - 1}) i"
        )
        self._next += wares

    def happen(self, columns: str = "stock = stock + 1") -> None:
        """Something: an insert, an update or a delete of a ware, a rename of a person."""
        ware, person = self._random.randint(1, self._next), self._random.randint(1, 20)
        match self._random.random():
            case number if number < 0.3:
                self.insert(**self.usual)
            case number if number < 0.8:
                self.run(f"update wares set {columns} where ware_id = {ware}")
            case number if number < 0.9:
                self.run(f"delete from wares where ware_id = {ware}")
            case _:
                self.run(f"update people set name = 'Person {person}.{ware}' where person_id = {person}")

    @contextmanager
    def happening(self) -> Iterator[None]:
        """Load for as long as the block; fails with what failed in it."""
        stop, failed = Event(), list[BaseException]()

        def work() -> None:
            try:
                while not stop.wait(0.002):
                    self.happen()
            except BaseException as error:
                failed.append(error)

        thread = Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        if failed:
            raise failed[0]


class Check:
    """Whether read models are what their SQL gives."""

    def __init__(self, pipeline: Pipeline, session: Session) -> None:
        self._pipeline = pipeline
        self._session = session

    def equal(self, models: Sequence[ReadModel], context: str, seconds: float = 60) -> dict[str, int]:
        """Wait until all is covered, added columns too, then compare; rows by read model."""
        settings = self._pipeline.settings
        admin, keyspace = settings.postgres.admin.get_secret_value(), settings.cassandra.keyspace
        reached = compare.flushed(admin)
        compare.wait_covered(
            self._session,
            keyspace,
            settings.projector.projection,
            models,
            reached,
            seconds=seconds,
            pipeline=self._pipeline,
        )

        def filled() -> bool:
            there = compare.positions(self._session, keyspace, settings.projector.projection)
            own = [there.get(f"{model.name}.{column}", reached) for model in models for column in model.columns]
            return self._pipeline.check() and min(own) >= reached

        wait_for(f"{context}: added columns cover {reached}", filled, seconds, self._pipeline.logs)
        return compare.assert_equal(self._session, keyspace, admin, models, context)

    def rows(self, model: ReadModel) -> compare.Rows:
        """What is in Cassandra."""
        return compare.in_cassandra(self._session, self._pipeline.settings.cassandra.keyspace, model)


def ended(process: Process, seconds: float = 40) -> str:
    """What a process said that stops by itself with status 1."""
    assert process.wait(seconds) == 1, process.tail()
    return process.said()


Act = Callable[[Source], None]
