"""URLs as queries: what CQL can answer is read exactly, everything else is refused with its field and a remedy."""

import contextlib
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from cassandra.util import Date
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, DateTime, Integer, MetaData, Table, Text, Uuid, select
from sqlalchemy import Date as SqlDate

from command_api.process.consistency import ConsistencyToken
from projections.cassandra_table import cassandra_table
from projections.read_model import ReadModel, descending
from read_api.cql import Shape, select_statement
from read_api.problem import InvalidRequestError, InvalidValueError, ProblemError, UnknownRouteError
from read_api.request import Bound, Query, Route, RouteConflictError

ENTRIES = Table(
    "entries",
    MetaData(),
    Column("place", Text),
    Column("day", SqlDate),
    Column("at", DateTime(timezone=True)),
    Column("number", Integer),
    Column("id", Uuid),
    Column("token", Text),
)
MODEL = ReadModel(
    name="entries_by_place",
    select=select(*(ENTRIES.c[name] for name in ("place", "day", "at", "number", "id"))),
    partition_key=("place", "day"),
    clustering_key=(descending("at"), "number", "id"),
)
SINGLE = ReadModel(name="entry", select=select(ENTRIES.c.place, ENTRIES.c.number), partition_key=("place",))
ROUTE = Route(table=cassandra_table(MODEL, "ks"), default_limit=100, max_limit=1000)
SINGLE_ROUTE = Route(table=cassandra_table(SINGLE, "ks"), default_limit=100, max_limit=1000)
KEY = [b"home", b"2024-02-29"]
AT = "2024-02-29T12:00:00Z"
MICROS = int(datetime(2024, 2, 29, 12, tzinfo=UTC).timestamp()) * 1_000_000
ID = "01890a5d-ac96-774b-bcce-b302099a8057"


def parse(query: str = "") -> Query:
    return ROUTE.parse(KEY, query.encode()).query


def test_the_key_alone() -> None:
    request = ROUTE.parse(KEY, b"")
    assert request.query == Query(model="entries_by_place", partition=("home", Date("2024-02-29")))
    assert (request.limit, request.page, request.token) == (100, None, None)


@pytest.mark.parametrize(
    ("query", "equals", "bounds"),
    [
        (f"at={AT}", (MICROS,), ()),
        (f"at={AT}&number=3", (MICROS, 3), ()),
        (f"number=3&at={AT}&id={ID}", (MICROS, 3, UUID(ID)), ()),
        (f"at.gte={AT}", (), (Bound(operator=">=", value=MICROS),)),
        (f"at.lt={AT}&at.gt={AT}", (), (Bound(operator=">", value=MICROS), Bound(operator="<", value=MICROS))),
        (f"at={AT}&number.lte=-3", (MICROS,), (Bound(operator="<=", value=-3),)),
        ("at.gte=2024-02-29T14:00:00%2B02:00", (), (Bound(operator=">=", value=MICROS),)),
        ("at.gte=2024-02-29T14:00:00+02:00", (), (Bound(operator=">=", value=MICROS),)),
    ],
)
def test_restrictions(query: str, equals: tuple[Any, ...], bounds: tuple[Bound, ...]) -> None:
    parsed = parse(query)
    assert (parsed.equals, parsed.bounds) == (equals, bounds)
    assert select_statement(ROUTE.table, Shape.of(parsed)).count("?") == len(parsed.values)


def test_the_statement_of_a_range_in_reverse() -> None:
    parsed = parse(f"at={AT}&number.gte=1&number.lt=5&order=reversed")
    assert select_statement(ROUTE.table, Shape.of(parsed)).partition(" WHERE ")[2] == (
        '"place" = ? AND "day" = ? AND "at" = ? AND "number" >= ? AND "number" < ?'
        ' ORDER BY "at" ASC, "number" DESC, "id" DESC'
    )


def test_limit_page_and_token() -> None:
    request = ROUTE.parse(KEY, b"limit=7&page=abc&token=16/B374D848")
    assert (request.limit, request.page) == (7, "abc")
    assert str(request.token) == "16/B374D848"
    both = request.with_token(ConsistencyToken.parse("0/1;posts@17/0")).token
    assert str(both) == "16/B374D848;posts@17/0"


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("colour=red", 400, "colour"),
        ("AT=1", 400, "AT"),
        ("place=home", 400, "place"),
        ("at.ne=1", 400, "at.ne"),
        ("limit=1&limit=2", 400, "limit"),
        ("number=3", 400, "number"),
        ("number.gte=3", 400, "number.gte"),
        (f"at.gte={AT}&number=3", 400, "number"),
        (f"at={AT}&at.gte={AT}", 400, "at.gte"),
        (f"at.gte={AT}&at.gt={AT}", 400, "at.gt"),
        (f"at.lte={AT}&at.lt={AT}", 400, "at.lt"),
        (f"at={AT}&id={ID}", 400, "id"),
        ("at=yesterday", 422, "at"),
        ("at.gte=2024-02-29", 422, "at.gte"),
        (f"at={AT}&number=x", 422, "number"),
        (f"at={AT}&number=2147483648", 422, "number"),
        ("limit=0", 422, "limit"),
        ("limit=1001", 422, "limit"),
        ("limit=-1", 422, "limit"),
        ("limit=", 422, "limit"),
        ("limit=%D9%A3", 422, "limit"),
        ("order=backwards", 422, "order"),
        ("token=now", 400, "Consistency-Token"),
        ("at=%FF", 400, None),
        ("&".join(f"p{i}=1" for i in range(100)), 400, None),
    ],
)
def test_refusals_name_the_field(query: str, status: int, field: str | None) -> None:
    with pytest.raises(ProblemError) as caught:
        ROUTE.parse(KEY, query.encode())
    assert (caught.value.status, caught.value.members.get("field")) == (status, field)
    assert caught.value.hint


@pytest.mark.parametrize("segments", [[], [b"home"], [*KEY, b""], [*KEY, b"x"]])
def test_another_number_of_key_parts_is_no_route(segments: list[bytes]) -> None:
    with pytest.raises(UnknownRouteError) as caught:
        ROUTE.parse(segments, b"")
    assert "/read/entries_by_place/{place}/{day}" in caught.value.hint


def test_order_needs_a_clustering_key() -> None:
    with pytest.raises(InvalidRequestError, match="no parameter 'order'"):
        SINGLE_ROUTE.parse([b"home"], b"order=reversed")


def test_the_empty_key_of_one_column_is_no_partition() -> None:
    with pytest.raises(InvalidValueError):
        SINGLE_ROUTE.parse([b""], b"")
    assert ROUTE.parse([b"", KEY[1]], b"").query.partition[0] == ""


def test_bytes_that_are_no_utf8() -> None:
    with pytest.raises(InvalidValueError) as caught:
        SINGLE_ROUTE.parse([b"%FF"], b"")
    assert caught.value.members["field"] == "place"


def test_a_clustering_column_may_not_hide_a_parameter() -> None:
    model = ReadModel(
        name="by_token",
        select=select(ENTRIES.c.place, ENTRIES.c.token),
        partition_key=("place",),
        clustering_key=("token",),
    )
    with pytest.raises(RouteConflictError, match=r"'token'.*label"):
        Route(table=cassandra_table(model, "ks"), default_limit=1, max_limit=1)


@given(st.text(alphabet=st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), min_size=1))
def test_any_text_is_a_key(text: str) -> None:
    segment = quote(text, safe="").encode()
    assert b"/" not in segment
    assert SINGLE_ROUTE.parse([segment], b"").query.partition == (text,)


@given(st.lists(st.binary(), max_size=4), st.binary())
def test_any_bytes_are_read_or_refused(segments: list[bytes], query: bytes) -> None:
    with contextlib.suppress(ProblemError):
        ROUTE.parse(segments, query)
