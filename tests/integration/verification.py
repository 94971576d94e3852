"""What the tests of `projector verify` share: running it, changing the source meanwhile, and damage done to a table."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import psycopg
from cassandra.cluster import Session
from psycopg import sql
from sqlalchemy import Table

import projections
from projections.cassandra_table import cassandra_table, write_timestamp
from projections.read_model import ReadModel
from tests.e2e import compare
from tests.e2e.pipeline import Pipeline, Process, wait_for
from tests.e2e.transactions import Source
from tests.oracle import schema, views

VIEWS = tuple(
    model
    for model in views.VIEWS
    if model.name in ("plain", "moving", "left_chain", "linked", "triangle", "dates", "by_uuid", "document_of_group")
)
"""Read models of every kind of value, over few keys; each costs a verification several looks."""
MODELS = (projections.ORDERS_BY_USER, projections.ORDER_BY_ID)
"""Of the reference application, for tests that are about no others: each table costs Cassandra CPU to make and drop."""
DAMAGED = tuple(model for model in projections.READ_MODELS if {"region", "user_name"} <= model.columns.keys())
"""Those that `Damage` can be done to."""

ORDERS = """
    with u as (insert into users (user_id, name) values (gen_random_uuid(), '{name}') returning user_id)
    insert into orders (order_id, user_id, status, region, created_at)
    select gen_random_uuid(), user_id, 'placed', 'eu', timestamptz '2024-03-01' + i * interval '1 min'
    from u, generate_series(1, {count}) i
"""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One run: exit status, what it printed and logged, and with --json its report by read model."""

    status: int
    said: str
    reports: dict[str, dict[str, Any]]

    def keys(self, model: str, kind: str | None = None) -> set[str]:
        """The differing keys of a read model, as text."""
        return {
            str(list(each["key"].values()))
            for each in self.reports[model]["differences"]
            if kind in (None, each["kind"])
        }


def verify(pipeline: Pipeline, *arguments: str, seconds: float = 120) -> Outcome:
    """Run `projector verify`."""
    log = pipeline.folder / "verify.log"
    process = Process("verify", ("projector", "verify", *arguments), pipeline.settings, log)
    try:
        wait_for(
            "the verification ends", lambda: pipeline.check() and process.status is not None, seconds, process.tail
        )
    finally:
        process.kill()
    said = process.said()
    reports = {}
    if "--json" in arguments:
        text = said[said.index('{\n "read_models"') :]
        reports = {each["read_model"]: each for each in json.JSONDecoder().raw_decode(text)[0]["read_models"]}
    assert process.status is not None
    return Outcome(status=process.status, said=said, reports=reports)


def place_orders(pipeline: Pipeline, count: int, name: str = "Ada") -> None:
    """Orders of a new user, in one transaction."""
    with psycopg.connect(pipeline.settings.postgres.admin.get_secret_value()) as connection:
        connection.execute(ORDERS.format(name=name, count=count).encode())


def settle(pipeline: Pipeline, session: Session, models: Sequence[ReadModel], *, seconds: float = 60) -> None:
    """Wait until everything that has committed is covered."""
    settings = pipeline.settings
    compare.wait_covered(
        session,
        settings.cassandra.keyspace,
        settings.projector.projection,
        models,
        compare.flushed(settings.postgres.admin.get_secret_value()),
        seconds=seconds,
        pipeline=pipeline,
    )


class Changes(threading.Thread):
    """Random transactions over few keys, which therefore come and go all the time."""

    def __init__(self, conninfo: str, tables: Sequence[Table], seed: int, *, alone: bool) -> None:
        super().__init__(name="changes", daemon=True)
        self.made: Counter[str] = Counter()
        self.error: BaseException | None = None
        self.ending = threading.Event()
        self._conninfo, self._tables, self._rng, self._alone = conninfo, tables, Random(seed), alone

    def run(self) -> None:
        try:
            with psycopg.connect(self._conninfo, autocommit=True) as connection:
                connection.execute("set timezone = 'UTC'")
                source = Source(connection, self._tables, schema.DOMAINS, self._rng, {}, alone=self._alone)
                source.made = self.made
                while not self.ending.wait(self._rng.random() * 0.004):
                    source.transaction()
        except BaseException as error:
            self.error = error


@contextmanager
def changing(pipeline: Pipeline, tables: Sequence[Table], seed: int, *, alone: bool = False) -> Iterator[Changes]:
    """Change the source as long as the block runs."""
    thread = Changes(pipeline.settings.postgres.admin.get_secret_value(), tables, seed, alone=alone)
    thread.start()
    try:
        wait_for("the first changes", lambda: thread.made["commit"] > 20 or thread.error, 20)
        yield thread
    finally:
        thread.ending.set()
        thread.join(20)
    assert thread.error is None, thread.error


class Damage:
    """Writes into a read model's table what no worker would; `done` is kind to the keys, as the report has them."""

    def __init__(self, session: Session, pipeline: Pipeline, model: ReadModel) -> None:
        self._session = session
        self._table = cassandra_table(model, pipeline.settings.cassandra.keyspace)
        self._epoch = pipeline.settings.projector.epoch
        self._admin = pipeline.settings.postgres.admin.get_secret_value()
        self.done: set[str] = set()

    def rows(self) -> list[Any]:
        """Everything that is there, with `written` beside it."""
        names = ", ".join(f'"{name}"' for name in self._table.columns)
        return list(self._session.execute(f"SELECT {names}, writetime(region) AS written FROM {self._table.qualified}"))

    def remove(self, row: Any, *, above: int = 1) -> None:
        """A missing row."""
        self._execute(f"DELETE FROM {self._table.qualified} USING TIMESTAMP {row.written + above} WHERE", row)

    def set_cell(self, row: Any, column: str, value: str | None, *, above: int = 1) -> None:
        """A wrong cell."""
        text = "null" if value is None else f"'{value}'"
        self._execute(
            f'UPDATE {self._table.qualified} USING TIMESTAMP {row.written + above} SET "{column}" = {text} WHERE', row
        )

    def insert(self, row: Any, *, timestamp: int, **other: Any) -> None:
        """A whole row with other values: a stale one, or an extra one when its key is another."""
        values = {name: other.get(name, getattr(row, name)) for name in self._table.columns}
        markers = ", ".join(["%s"] * len(values))
        names = ", ".join(f'"{name}"' for name in values)
        self._session.execute(
            f"INSERT INTO {self._table.qualified} ({names}) VALUES ({markers}) USING TIMESTAMP {timestamp}",
            tuple(values.values()),
        )
        self.done.add(self._key(values.__getitem__))

    def now(self) -> int:
        """The write timestamp of a commit of just now."""
        return write_timestamp(self._epoch, compare.flushed(self._admin))

    def expect(self, row: Any) -> None:
        """A key that is to be reported, though nothing is written here."""
        self.done.add(self._key(lambda name: getattr(row, name)))

    def _execute(self, statement: str, row: Any) -> None:
        where = " AND ".join(f'"{name}" = %s' for name in self._table.key)
        self._session.execute(f"{statement} {where}", tuple(getattr(row, name) for name in self._table.key))
        self.done.add(self._key(lambda name: getattr(row, name)))

    def _key(self, value: Callable[[str], Any]) -> str:
        from projector.verify.cassandra_values import reader
        from projector.verify.report import shown

        found = []
        for name in self._table.key:
            kind = self._table.columns[name]
            convert = reader(kind)
            found.append(shown(value(name) if convert is None else convert(value(name)), kind))
        return str(found)


def emit(pipeline: Pipeline, prefix: str, content: str) -> None:
    """Put a message into the source's log."""
    with psycopg.connect(pipeline.settings.postgres.admin.get_secret_value()) as connection:
        connection.execute(sql.SQL("select pg_logical_emit_message(true, {}, {})").format(prefix, content))
