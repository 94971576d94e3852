"""A merged page is the beginning of the sorted union, whatever the partitions, what is known of them, and the page size."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from cassandra.cqltypes import DecimalType
from cassandra.util import Date
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Integer, Numeric, Text, Uuid, column, select

from projections.cassandra_table import CassandraTable, cassandra_table
from projections.read_model import Clustering, ReadModel
from projections.values import Kind, ValueType
from read_api.merge import Stretch, merge, stretch
from read_api.order import Order, Span, ascending
from read_api.request import Bound, Query

Row = tuple[Any, ...]


def table_of(*descending: bool) -> CassandraTable:
    names = ("a", "b", "c")[: len(descending)]
    clustering = tuple(Clustering(column=n, descending=d) for n, d in zip(names, descending, strict=True))
    columns: list[Any] = [column("p", Text), *(column(name, Integer) for name in names), column("v", Text)]
    statement = select(*columns)
    model = ReadModel(name="m", select=statement, partition_key=("p",), clustering_key=clustering)
    return cassandra_table(model, "keyspace")


def in_order(rows: set[tuple[int, ...]], table: CassandraTable, *, reversed_: bool) -> list[tuple[int, ...]]:
    """Cassandra's answer, by sorting once a column."""
    found = list(rows)
    for at in reversed(range(len(table.clustering))):
        found.sort(key=lambda key, at=at: key[at], reverse=table.clustering[at].descending != reversed_)  # type: ignore[misc]
    return found


@st.composite
def partitions(draw: st.DrawFn) -> tuple[CassandraTable, bool, list[set[tuple[int, ...]]]]:
    table = table_of(*draw(st.lists(st.booleans(), min_size=1, max_size=3)))
    key = st.tuples(*[st.integers(0, 3) for _ in table.clustering])
    return table, draw(st.booleans()), draw(st.lists(st.sets(key, max_size=12), min_size=1, max_size=4))


@given(partitions(), st.integers(1, 7), st.data())
def test_pages_of_any_size_are_the_sorted_union_once(
    given_partitions: tuple[CassandraTable, bool, list[set[tuple[int, ...]]]], limit: int, data: st.DataObject
) -> None:
    table, reversed_, keys = given_partitions
    order = Order(table, reversed_=reversed_)
    query = Query(model="m", partition=("p",), reversed=reversed_)
    sorted_keys = [in_order(each, table, reversed_=reversed_) for each in keys]
    parts = [[("p", *key, str(index)) for key in each] for index, each in enumerate(sorted_keys)]
    found: list[Row] = []
    after: tuple[int, ...] | None = None
    while True:
        span = Span(order, query, after)
        known = [data.draw(st.integers(0, len(part))) for part in parts]
        while True:
            stretches = [
                stretch(part[:count], order, span, ended=count == len(part))
                for part, count in zip(parts, known, strict=True)
            ]
            page = merge(stretches, limit)
            if not page.wanting:
                break
            for index in page.wanting:
                assert known[index] < len(parts[index])
                known[index] += 1
        assert len(page.rows) <= limit
        found += page.rows
        assert len(found) <= sum(map(len, keys)), "a row comes again"
        if not page.more:
            break
        assert len(page.rows) == limit
        after = tuple(page.rows[-1][1:-1])
    union = in_order(set().union(*keys), table, reversed_=reversed_)
    assert [row[1:-1] for row in found] == union
    for row in found:  # of several copies that of the first partition
        assert row[-1] == str(next(index for index, each in enumerate(keys) if tuple(row[1:-1]) in each))


@given(partitions(), st.data())
def test_a_span_is_where_a_query_says(
    given_partitions: tuple[CassandraTable, bool, list[set[tuple[int, ...]]]], data: st.DataObject
) -> None:
    table, reversed_, (keys, *_) = given_partitions
    width = len(table.clustering)
    equals = tuple(data.draw(st.lists(st.integers(0, 3), max_size=width)))
    ends = [data.draw(st.sampled_from(("", ">", ">="))), data.draw(st.sampled_from(("", "<", "<=")))]
    bounds = tuple(Bound(operator=end, value=data.draw(st.integers(0, 3))) for end in ends if end)
    query = Query(
        model="m", partition=("p",), equals=equals, bounds=bounds if len(equals) < width else (), reversed=reversed_
    )
    order = Order(table, reversed_=reversed_)
    rows = in_order(keys, table, reversed_=reversed_)
    sides = [Span(order, query).side(place) for place in order.places([("p", *key, "") for key in rows])]
    assert sides == sorted(sides), "before, then within, then beyond"
    compare = {"<": int.__lt__, "<=": int.__le__, ">": int.__gt__, ">=": int.__ge__}
    within = [
        key[: len(equals)] == equals and all(compare[b.operator](key[len(equals)], b.value) for b in query.bounds)
        for key in rows
    ]
    assert [side == 0 for side in sides] == within


def test_what_is_not_known_is_asked_for_before_the_page_ends() -> None:
    order = Order(table_of(True))
    span = Span(order, Query(model="m", partition=("p",)))
    newest = stretch([("p", 9, "x"), ("p", 5, "x")], order, span, ended=False)
    other = stretch([("p", 7, "y"), ("p", 6, "y")], order, span, ended=False)
    assert merge([newest, other], 3).wanting == ()
    assert merge([newest, other], 4).wanting == (1,), "between 6 and 5 the second may have more"
    assert merge([newest, Stretch(rows=[], places=[], known_to=())], 1).wanting == (1,)
    assert merge([newest, other], 5).wanting == (0, 1)


def test_uuids_are_ordered_as_cassandra_does() -> None:
    key = ascending(ValueType(kind=Kind.UUID))
    later, sooner = UUID("00000001-0000-1001-8000-000000000000"), UUID("ffffffff-0000-1000-8000-000000000000")
    old, new = UUID("ffffffff-0000-4000-8000-000000000000"), UUID("00000000-0000-7000-8000-000000000000")
    assert sorted((new, old, later, sooner), key=key) == [sooner, later, old, new]
    assert key(old) == key(old.bytes)


def test_other_kinds_are_ordered_as_cassandra_does() -> None:
    assert sorted(("é", "z", "a"), key=ascending(ValueType(kind=Kind.TEXT))) == ["a", "z", "é"]
    dates = sorted((Date(3), Date(-1)), key=ascending(ValueType(kind=Kind.DATE)))
    assert [date.days_from_epoch for date in dates] == [-1, 3]


def test_a_descending_uuid_comes_the_other_way_round() -> None:
    model = ReadModel(
        name="m", select=select(column("p", Text), column("u", Uuid)), partition_key=("p",), clustering_key=("u",)
    )
    table = cassandra_table(model, "keyspace")
    rows = [("p", UUID(int=number << 80 | 7 << 76)) for number in (1, 3, 2)]
    for reversed_ in (False, True):
        order = Order(table, reversed_=reversed_)
        placed = sorted(zip(order.places(rows), rows, strict=True), key=lambda pair: pair[0])
        assert [row for _, row in placed] == sorted(rows, key=lambda row: row[1], reverse=reversed_)


def test_numerics_are_ordered_by_their_exact_value_in_either_form() -> None:
    model = ReadModel(
        name="m",
        select=select(column("p", Text), column("n", Numeric(60, 2))),
        partition_key=("p",),
        clustering_key=("n",),
    )
    table = cassandra_table(model, "keyspace")
    long = "12345678901234567890123456789012345678"  # more than decimal's context keeps
    values = [Decimal(text) for text in ("-1.50", "-0.02", "0.00", "9.99", f"{long}.01", f"{long}.02", f"{long}.03")]
    for reversed_ in (False, True):
        order = Order(table, reversed_=reversed_)
        wanted = [("p", value) for value in sorted(values, reverse=reversed_)]
        sent = [(p, DecimalType.serialize(value, 5)) for p, value in wanted]
        places = order.places(wanted)
        assert places == sorted(places)
        assert len(set(places)) == len(values)
        assert order.places(sent) == places == [order.place((value,)) for _, value in wanted]
