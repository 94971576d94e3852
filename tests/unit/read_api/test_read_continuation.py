"""The rest of a query after a row, as queries of CQL's form, has every later row once and in order; keys survive as texts."""

from __future__ import annotations

import itertools
import operator
from dataclasses import replace
from typing import Any

from cassandra.util import Date, Time
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Integer, Text, column, select

from projections.cassandra_table import CassandraTable, cassandra_table
from projections.read_model import Clustering, ReadModel
from projections.values import Kind, ValueType
from read_api.continuation import key_of, read_key, rest
from read_api.literals import read_literal
from read_api.rendering import literal_text
from read_api.request import Bound, Query

COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
KEYS = tuple(itertools.product(range(3), repeat=3))
Key = tuple[int, ...]


def table_of(descending: tuple[bool, ...]) -> CassandraTable:
    """A table with the clustering columns a, b, c in these orders."""
    names = ("a", "b", "c")[: len(descending)]
    clustering = tuple(Clustering(column=n, descending=d) for n, d in zip(names, descending, strict=True))
    statement = select(column("p", Text), *(column(name, Integer) for name in names))
    return cassandra_table(
        ReadModel(name="m", select=statement, partition_key=("p",), clustering_key=clustering), "keyspace"
    )


def answer(query: Query, table: CassandraTable) -> list[Key]:
    """What Cassandra gives."""
    width, fixed = len(table.clustering), len(query.equals)
    keys = [key for key in sorted({key[:width] for key in KEYS}) if key[:fixed] == query.equals]
    keys = [key for key in keys if all(COMPARE[b.operator](key[fixed], b.value) for b in query.bounds)]
    for place in reversed(range(width)):
        keys.sort(key=lambda key, at=place: key[at], reverse=table.clustering[place].descending != query.reversed)  # type: ignore[misc]
    return keys


@st.composite
def queries(draw: st.DrawFn) -> tuple[Query, CassandraTable]:
    table = table_of(tuple(draw(st.lists(st.booleans(), min_size=1, max_size=3))))
    equals = draw(st.lists(st.integers(0, 2), max_size=len(table.clustering)))
    ends = [draw(st.sampled_from(("", ">", ">="))), draw(st.sampled_from(("", "<", "<=")))]
    bounds = [Bound(operator=end, value=draw(st.integers(0, 2))) for end in ends if end]
    query = Query(model="m", partition=("k",), equals=tuple(equals), reversed=draw(st.booleans()))
    return (query if len(equals) == len(table.clustering) else replace(query, bounds=tuple(bounds))), table


@given(queries())
def test_the_rest_is_every_later_row_once_and_in_order(given_query: tuple[Query, CassandraTable]) -> None:
    query, table = given_query
    everything = answer(query, table)
    for place, after in enumerate(everything):
        parts = rest(query, after, table)
        assert all(len({bound.operator[0] for bound in part.bounds}) == len(part.bounds) for part in parts)
        assert [key for part in parts for key in answer(part, table)] == everything[place + 1 :]


VALUES: dict[ValueType, st.SearchStrategy[Any]] = {
    ValueType(kind=Kind.BOOLEAN): st.booleans(),
    ValueType(kind=Kind.INTEGER, bits=64): st.integers(-(2**63), 2**63 - 1),
    ValueType(kind=Kind.NUMERIC, precision=12, scale=2): st.decimals(-(10**9), 10**9, places=2),
    ValueType(kind=Kind.TEXT): st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))),
    ValueType(kind=Kind.UUID): st.uuids(),
    ValueType(kind=Kind.BYTES): st.binary(),
    ValueType(kind=Kind.DATE): st.integers(-(2**31), 2**31 - 1).map(Date),
    ValueType(kind=Kind.TIME): st.integers(0, 86_399_999_999).map(lambda micros: Time(micros * 1000)),
    ValueType(kind=Kind.TIMESTAMP): st.integers(-(2**63), 2**63 - 1),
    ValueType(kind=Kind.TIMESTAMPTZ): st.integers(-(2**63), 2**63 - 1),
}


@given(st.sampled_from(list(VALUES)).flatmap(lambda kind: st.tuples(st.just(kind), VALUES[kind])))
def test_a_value_survives_as_text(given_value: tuple[ValueType, Any]) -> None:
    kind, value = given_value
    assert read_literal(kind, literal_text(value, kind)) == value


def test_a_key_survives_as_texts() -> None:
    table = table_of((True, False))
    assert key_of(("k", 1, -2), table) == ("1", "-2")
    assert read_key(("1", "-2"), table) == (1, -2)
