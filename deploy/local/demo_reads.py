"""One query, timed on both sides: a partition of a read model's table, and the same select() restricted to the same key.

The two take turns, from one connection each, with prepared statements; both read the first PAGE_ROWS rows in the order of
the clustering key, as a page of the read API does, and both hand Python the values.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from statistics import median
from typing import Any

from cassandra.util import Date
from sqlalchemy import bindparam
from sqlalchemy import select as sqlalchemy_select
from sqlalchemy.dialects.postgresql import psycopg as sqlalchemy_psycopg

from deploy.local.demo_equal import from_postgres, sql_text
from deploy.local.demo_servers import TUPLES, Servers
from projections.cassandra_table import cassandra_table
from projections.read_model import ReadModel
from projections.values import Kind

PAGE_ROWS = 100
_KEYS = 200
_LEAST_KEYS = 40
_ENOUGH_S = 2.0  # after which fewer keys do: a SELECT of a tenth of a second shows itself in few
_WARM = 10  # reads that are not counted: plans, caches and connections settle


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Medians in seconds over `keys` reads of each side; `rows` is the median of rows read."""

    cassandra: float
    postgres: float
    rows: int
    keys: int


def time_reads(servers: Servers, model: ReadModel, seed: int, keys: int = _KEYS) -> Timing:
    """Time reads of random partitions."""
    chosen = _partitions(servers, model, Random(seed), keys)  # noqa: S311 - repeatable on purpose
    in_cassandra, in_postgres = _cassandra_read(servers, model), _postgres_read(servers, model)
    for key in chosen[:_WARM]:
        in_cassandra(key)
        in_postgres(key)
    ours, theirs, rows = [], [], []
    until = time.monotonic() + _ENOUGH_S
    for number, key in enumerate(chosen):
        if number >= _LEAST_KEYS and time.monotonic() > until:
            break
        began = time.perf_counter()
        found = in_cassandra(key)
        between = time.perf_counter()
        in_postgres(key)
        theirs.append(time.perf_counter() - between)
        ours.append(between - began)
        rows.append(found)
    return Timing(cassandra=median(ours), postgres=median(theirs), rows=int(median(rows)), keys=len(rows))


def restricted(model: ReadModel) -> tuple[str, dict[str, Any]]:
    """The select() for one partition, in clustering order, cut to a page: SQL with psycopg's named parameters.

    Beside it the values of its own constants; those of the key are the reader's.
    """
    # What a scheduled read model groups or ranks, it does over all rows: its key restricts the result.
    select = model.select if model.refresh is None else sqlalchemy_select(model.select.subquery("answers"))
    columns = select.selected_columns
    select = select.where(*(columns[name] == bindparam(name) for name in model.partition_key))
    order = [columns[c.column].desc() if c.descending else columns[c.column] for c in model.clustering]
    dialect = sqlalchemy_psycopg.PGDialect_psycopg()  # type: ignore[no-untyped-call]
    compiled = select.order_by(*order).compile(dialect=dialect)
    constants = {name: value for name, value in compiled.params.items() if name not in model.partition_key}
    return f"{compiled}\n LIMIT {PAGE_ROWS}", constants


def _partitions(servers: Servers, model: ReadModel, random: Random, count: int) -> list[dict[str, Any]]:
    # Keys of rows, not distinct ones: a large partition is read as often as rows ask for it.
    rows = servers.postgres.execute(
        "select "
        + ", ".join(f'"{name}"' for name in model.partition_key)
        + f" from ({sql_text(model.select)}) as answers"
    ).fetchall()
    rows.sort(key=repr)
    return [dict(zip(model.partition_key, row, strict=True)) for row in random.choices(rows, k=count)]


def _cassandra_read(servers: Servers, model: ReadModel) -> Callable[[dict[str, Any]], int]:
    table = cassandra_table(model, servers.settings.cassandra.keyspace)
    statement = servers.cassandra.prepare(f"{table.select_partition()} LIMIT {PAGE_ROWS}")
    converters = {name: from_postgres(model, name) for name in model.partition_key}
    dates = {name for name in model.partition_key if model.columns[name].kind is Kind.DATE}

    def read(key: dict[str, Any]) -> int:
        values = {name: converters[name](value) for name, value in key.items()}
        bound = [Date(value) if name in dates else value for name, value in values.items()]
        return len(servers.cassandra.execute(statement, bound, execution_profile=TUPLES).all())

    return read


def _postgres_read(servers: Servers, model: ReadModel) -> Callable[[dict[str, Any]], int]:
    text, constants = restricted(model)
    query = text.encode()

    def read(key: dict[str, Any]) -> int:
        return len(servers.postgres.execute(query, {**constants, **key}, prepare=True).fetchall())

    return read
