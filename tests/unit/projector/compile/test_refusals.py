"""What can't be maintained exactly is refused at start-up, and the message names it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import (
    CHAR,
    Column,
    Float,
    Integer,
    LargeBinary,
    Numeric,
    Table,
    Text,
    cast,
    func,
    literal_column,
    or_,
    select,
    text,
)

from projections.read_model import DeclarationError, ReadModel
from projector.compile.errors import RefusedModelError
from projector.compile.program import compile_models
from tests.oracle.schema import METADATA, d, m, t, x, y

odd = Table(
    "odd",
    METADATA.__class__(),
    Column("id", Integer, primary_key=True),
    Column("real", Float),
    Column("code", CHAR(3)),
    Column("bin", LargeBinary, nullable=False),
    Column("free", Numeric),
)
bare = Table("bare", METADATA.__class__(), Column("id", Integer, nullable=False))
ids = select(d.c.id, d.c.value)
x2 = x.alias("x2")
sub = select(x.c.id, x.c.name).subquery("s")
per_x = select(d.c.x_id, func.count().label("n")).group_by(d.c.x_id).subquery("per_x")
per_value = select(d.c.value, d.c.x_id).group_by(d.c.value, d.c.x_id).subquery("per_value")

REFUSED: dict[str, tuple[Any, str, tuple[str, ...]]] = {
    "group by without the key": (ids.group_by(d.c.id, d.c.value), "every expression of the GROUP BY", ("id",)),
    "ungrouped column": (select(d.c.id, d.c.note).group_by(d.c.id), "note: must be in GROUP BY", ("id",)),
    "group that may be null": (select(d.c.x_id, func.count().label("n")).group_by(d.c.x_id), "x_id may be NULL", ("x_id",)),
    "key of an aggregate": (select(d.c.id, func.count().label("n")).group_by(d.c.id), "depends on an aggregate", ("n", "id")),
    "float sum": (select(odd.c.id, func.sum(odd.c.real).label("s")).group_by(odd.c.id), "is not exact", ("id",)),
    "sum of distinct values": (select(d.c.id, func.sum(d.c.value.distinct()).label("s")).group_by(d.c.id), "DISTINCT", ("id",)),
    "minimum by collation": (select(d.c.id, func.min(d.c.note).label("s")).group_by(d.c.id), "depends on the collation", ("id",)),
    "unknown aggregate": (select(d.c.id, func.array_agg(d.c.note).label("s")).group_by(d.c.id), "array_agg", ("id",)),
    "window function": (select(d.c.id, func.rank().over(order_by=d.c.value).label("r")), "refresh=", ("id",)),
    "group of null groups": (select(per_x.c.n, func.count().label("c")).group_by(per_x.c.n), "made of another group's aggregates", ("n",)),
    "group over a nullable group": (
        select(per_value.c.value, func.count().label("c")).group_by(per_value.c.value), "group may be NULL", ("value",)
    ),
    "row found by an aggregate": (
        select(x.c.id, d.c.note).join_from(x, per_x, per_x.c.x_id == x.c.id).join(d, d.c.id == per_x.c.n), "needs an equality", ("id",)
    ),
    "uncorrelated subquery": (
        select(x.c.id, select(func.count(d.c.id)).scalar_subquery().label("n")), "the same for every row", ("id",)
    ),
    "correlated by more than": (
        select(x.c.id, select(func.count()).where(d.c.x_id > x.c.id).scalar_subquery().label("n")), "correlated by equalities", ("id",)
    ),
    "left join of many by more": (
        select(x.c.id, func.count().label("n")).join_from(x, m, m.c.d_id + x.c.id == 3, isouter=True).group_by(x.c.id),
        "by equalities and conditions of its own columns only", ("id",)
    ),
    "having": (ids.having(d.c.id > 1), "HAVING", ("id",)),
    "distinct": (ids.distinct(), "DISTINCT", ("id",)),
    "limit": (ids.limit(3), "LIMIT", ("id",)),
    "offset": (ids.offset(3), "LIMIT or OFFSET", ("id",)),
    "order by": (ids.order_by(d.c.id), "clustering_key", ("id",)),
    "for update": (ids.with_for_update(), "FOR UPDATE", ("id",)),
    "aggregate": (select(d.c.id, func.count(d.c.value).label("n")), "without GROUP BY has no key", ("id",)),
    "full join": (select(d.c.id).join_from(d, x, d.c.x_id == x.c.id, full=True), "FULL OUTER JOIN", ("id",)),
    "subquery": (select(d.c.id, sub.c.name).join_from(d, sub, d.c.x_id == sub.c.id), "without GROUP BY in FROM", ("id",)),
    "scalar subquery": (select(d.c.id, select(x.c.name).where(x.c.id == d.c.x_id).scalar_subquery().label("n")), "without an aggregate", ("id",)),
    "in subquery": (ids.where(d.c.x_id.in_(select(x.c.id))), "join the table instead of a subquery", ("id",)),
    "exists": (ids.where(select(x.c.id).where(x.c.id == d.c.x_id).exists()), "EXISTS can't be maintained", ("id",)),
    "no join condition": (select(d.c.id, x.c.id.label("x_id")), "needs an equality", ("id", "x_id")),
    "inequality join": (select(d.c.id, x.c.id.label("o")).join_from(d, x, d.c.x_id < x.c.id), "needs an equality", ("id", "o")),
    "computed join": (select(d.c.id, x.c.name).join_from(d, x, x.c.id == d.c.value + 1), "needs an equality", ("id",)),
    "or in join": (select(d.c.id, x.c.id.label("o")).join_from(d, x, or_(d.c.x_id == x.c.id, d.c.value == x.c.id)), "equality", ("id", "o")),
    "ambiguous key": (select(d.c.id, m.c.tag).join_from(d, m, m.c.d_id == d.c.id), "does not identify a row", ("id",)),
    "half a composite key": (select(d.c.id, y.c.label).join_from(d, y, d.c.y1 == y.c.id1), "does not identify a row", ("id",)),
    "left join of many": (select(d.c.id, m.c.tag).join_from(d, m, m.c.d_id == d.c.id, isouter=True), "several rows", ("id",)),
    "nullable key": (select(d.c.id, d.c.x_id), "x_id may be NULL", ("x_id", "id")),
    "key of a nullable side": (select(d.c.id, x.c.name).join_from(d, x, d.c.x_id == x.c.id, isouter=True), "name may be NULL", ("name", "id")),
    "bytes in key": (select(odd.c.id, odd.c.bin), "can't be a key", ("bin", "id")),
    "text order": (ids.where(d.c.note < "x"), "depends on the collation", ("id",)),
    "text between": (ids.where(d.c.note.between("a", "b")), "depends on the collation", ("id",)),
    "lower": (ids.where(func.lower(d.c.note) == "x"), "depends on the collation", ("id",)),
    "lower of every letter": (ids.where(func.lower(d.c.note.collate("pg_c_utf8")) == "x"), "depends on the collation", ("id",)),
    "ilike": (ids.where(d.c.note.ilike("x")), "can't be maintained|not in the list|depends on the collation", ("id",)),
    "regular expression": (ids.where(d.c.note.regexp_match("x")), "not in the list", ("id",)),
    "startswith": (ids.where(d.c.note.startswith("x")), "not in the list", ("id",)),
    "pattern of a column": (ids.where(d.c.note.like(d.c.note)), "must be a constant", ("id",)),
    "dangling escape": (ids.where(d.c.note.like("a\\")), "must not end", ("id",)),
    "float arithmetic": (select(odd.c.id, (odd.c.real + 1).label("r")), "can't be maintained exactly", ("id",)),
    "float comparison": (select(odd.c.id).where(odd.c.real > odd.c.real), "not compared", ("id",)),
    "float constant": (ids.where(d.c.amount > 1.5), "float constant", ("id",)),
    "unconstrained numeric": (select(odd.c.id).where(odd.c.free > 1), "declare numeric", ("id",)),
    "char(n)": (select(odd.c.id).where(odd.c.code == "a"), "trailing spaces", ("id",)),
    "int and text": (ids.where(d.c.value == d.c.note), "mixes integer and text", ("id",)),
    "int plus text": (ids.where(d.c.note == d.c.note + d.c.value), "arithmetic on text and integer", ("id",)),
    "cast to varchar": (select(d.c.id, cast(d.c.note, Text(3)).label("n")), "cuts the text", ("id",)),
    "unknown function": (select(d.c.id, func.md5(d.c.note, type_=Text).label("h")), "function md5", ("id",)),
    "now": (ids.where(d.c.at < func.now()), "function now", ("id",)),
    "random": (ids.where(func.random() < 1), "function random", ("id",)),
    "division by a column": (select(d.c.id, (d.c.value // d.c.x_id).label("q")), "divisor must be a constant", ("id",)),
    "division by zero": (select(d.c.id, (d.c.value // 0).label("q")), "divisor must be a constant", ("id",)),
    "true division": (select(d.c.id, (d.c.value / 2).label("q")), "not in the list", ("id",)),
    "null in a list": (ids.where(d.c.value.in_([1, None])), "none may be NULL", ("id",)),
    "empty list": (ids.where(d.c.value.in_([])), "at least one value", ("id",)),
    "raw text": (ids.where(text("value > 1")), "can't be maintained", ("id",)),
    "literal column": (ids.where(literal_column("value", Integer) > 1), "can't be maintained|join it", ("id",)),
    "no primary key": (select(bare.c.id), "no primary key", ("id",)),
    "too many tables": (
        select(d.c.id).select_from(d, x, y, m, t, x2, x.alias("x3")), "at most", ("id",)
    ),
    "union": (select(d.c.id).union(select(x.c.id)), "a read model a part|plain select", ("id",)),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_by_name(name: str) -> None:
    selected, message, key = REFUSED[name]
    with pytest.raises((RefusedModelError, DeclarationError), match=f"(?s){message}"):
        compile_models([ReadModel(name="refused", select=selected, partition_key=key[:1], clustering_key=key[1:])])


def test_the_message_names_the_read_model() -> None:
    with pytest.raises(RefusedModelError, match="read model 'by_nothing' is refused"):
        compile_models([ReadModel(name="by_nothing", select=ids.distinct(), partition_key=("id",))])
