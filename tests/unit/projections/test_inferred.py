"""The types of what SQLAlchemy types too narrowly or not at all, wherever in the statement they are computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Integer, cast, func, select, union_all

from command_api.tables import order_items, orders, reviews
from projections.catalogue import CATEGORY_REPORT
from projections.inferred import column_type
from projections.values import Kind, ValueType

BIGINT = ValueType(kind=Kind.INTEGER, bits=64)
FIGURES = select(
    order_items.c.order_id,
    func.count().label("lines"),
    func.sum(order_items.c.quantity).label("units"),
    func.sum(order_items.c.quantity * order_items.c.unit_price).label("total"),
    func.avg(order_items.c.quantity).label("average"),
    func.bool_and(order_items.c.quantity > 1).label("several"),
    func.max(order_items.c.line_no).label("last"),
).group_by(order_items.c.order_id)
WANTED = {
    "lines": BIGINT,
    "units": BIGINT,
    "total": ValueType(kind=Kind.NUMERIC, precision=18, scale=2),
    "average": ValueType(kind=Kind.NUMERIC),
    "several": ValueType(kind=Kind.BOOLEAN),
    "last": ValueType(kind=Kind.INTEGER, bits=32),
}
PLACES: dict[str, Callable[[], Any]] = {
    "itself": lambda: FIGURES.selected_columns,
    "a subquery": lambda: FIGURES.subquery("figures").c,
    "an alias of it": lambda: FIGURES.subquery("figures").alias("again").c,
    "with": lambda: FIGURES.cte("figures").c,
    "with, twice": lambda: select(FIGURES.cte("figures")).cte("again").c,
    "the first of a union": lambda: union_all(FIGURES, FIGURES).subquery("both").c,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", WANTED)
def test_a_figure_has_its_type_wherever_it_is_computed(place: str, name: str) -> None:
    column = PLACES[place]()[name]
    assert column_type(column) == WANTED[name]
    assert column_type(column.label("another")) == WANTED[name]


def test_what_is_made_of_a_count_is_as_wide_unless_it_is_cast() -> None:
    lines = FIGURES.cte("figures").c.lines
    assert column_type(func.coalesce(lines, 0) + 1) == BIGINT
    assert column_type(cast(lines, Integer)) == ValueType(kind=Kind.INTEGER, bits=32)
    scalar = select(func.count()).where(reviews.c.user_id == orders.c.user_id).scalar_subquery()
    assert column_type(scalar.label("reviews")) == BIGINT


def test_the_report_counts_in_bigint() -> None:
    assert {name: CATEGORY_REPORT.columns[name] for name in ("orders", "units")} == dict.fromkeys(
        ("orders", "units"), BIGINT
    )
