"""What of a declaration is stored, and when another one fits the table that is there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Select,
    Table,
    Text,
    func,
    select,
)

from projections import READ_MODELS
from projections.documents import embedded
from projections.feeds import HOME_TIMELINE
from projections.messages import MESSAGES_BY_CHANNEL
from projections.read_model import ReadModel, descending
from projections.shape import Additive, Different, Same, Shape, ShapeFormatError, compare, shape_of

METADATA = MetaData()
people = Table("people", METADATA, Column("person_id", Integer, primary_key=True), Column("name", Text))
items = Table(
    "items",
    METADATA,
    Column("item_id", Integer, primary_key=True),
    Column("person_id", Integer),
    Column("price", Numeric(10, 2)),
    Column("made_at", DateTime(timezone=True)),
    Column("note", Text),
)
BASE = select(items.c.person_id, items.c.item_id, items.c.price, people.c.name).join(
    people, people.c.person_id == items.c.person_id
)


def model(statement: Select[Any], **changed: Any) -> ReadModel:
    return replace(
        ReadModel(name="wares", select=statement, partition_key=("person_id",), clustering_key=("item_id",)), **changed
    )


def of_type(column_type: Any, name: str = "price") -> ReadModel:
    table = Table("items", MetaData(), Column("item_id", Integer, primary_key=True), Column(name, column_type))
    return ReadModel(name="wares", select=select(table), partition_key=("item_id",))


def compared(old: ReadModel, new: ReadModel) -> Same | Additive | Different:
    """Through JSON, as a registry would keep the old one."""
    return compare(Shape.from_json(shape_of(old).to_json()), shape_of(new))


@pytest.mark.parametrize("declared", READ_MODELS, ids=lambda m: m.name)
def test_every_read_model_has_a_shape_that_survives_json(declared: ReadModel) -> None:
    shape = shape_of(declared)
    assert Shape.from_json(shape.to_json()) == shape
    assert compare(shape, shape_of(declared)) == Same()
    assert shape.columns.keys() == shape.expressions.keys() == shape.kinds.keys() == declared.columns.keys()


def test_shapes_of_different_read_models_have_different_fingerprints() -> None:
    assert len({shape_of(m).fingerprint for m in READ_MODELS}) == len(READ_MODELS)


SAME: dict[str, Callable[[], ReadModel]] = {
    "staleness": lambda: model(BASE, staleness=timedelta(seconds=5)),
    "owner": lambda: model(BASE, owner="person_id"),
    "budgets": lambda: model(BASE, budgets={"name": timedelta(seconds=5)}),
    "the order of columns": lambda: model(
        select(people.c.name, items.c.price, items.c.item_id, items.c.person_id).select_from(
            items.join(people, people.c.person_id == items.c.person_id)
        )
    ),
}


@pytest.mark.parametrize("what", SAME)
def test_what_is_not_stored_is_the_same(what: str) -> None:
    assert compared(model(BASE), SAME[what]()) == Same()
    assert shape_of(SAME[what]()).fingerprint == shape_of(model(BASE)).fingerprint


def test_a_wider_numeric_of_the_same_scale_is_the_same() -> None:
    assert compared(of_type(Numeric(10, 2)), of_type(Numeric(12, 2))) == Same()


def test_of_a_scheduled_model_only_columns_and_key_count() -> None:
    every_hour = model(select(items.c.person_id, items.c.item_id, items.c.note), refresh="1h")
    others = select(items.c.person_id, items.c.item_id, items.c.note).where(items.c.price > 2)
    assert compared(every_hour, model(others, refresh="15m")) == Same()
    wider = model(select(items.c.person_id, items.c.item_id, items.c.note, items.c.price), refresh="1h")
    assert any("another table in Postgres" in reason for reason in differences(every_hour, wider))
    assert any("change by change" in reason for reason in differences(every_hour, replace(every_hour, refresh=None)))


ADDED = {
    "a column of the table": (BASE.add_columns(items.c.note), ("note",)),
    "a computed column": (BASE.add_columns((items.c.price * 2).label("twice")), ("twice",)),
    "a column between others": (
        select(items.c.person_id, items.c.note, items.c.item_id, items.c.price, people.c.name).join(
            people, people.c.person_id == items.c.person_id
        ),
        ("note",),
    ),
    "a scalar subquery": (
        BASE.add_columns(
            select(func.count()).where(people.c.name == items.c.note).correlate(items).scalar_subquery().label("n")
        ),
        ("n",),
    ),
    "a document": (
        BASE.add_columns(
            *embedded(
                "namesakes",
                select(people.c.person_id.label("of"))
                .where(people.c.name == items.c.note)
                .order_by(people.c.person_id),
                bound=3,
            )
        ),
        ("namesakes", "namesakes_truncated"),
    ),
}


@pytest.mark.parametrize("what", ADDED)
def test_columns_outside_the_key_are_additive(what: str) -> None:
    statement, names = ADDED[what]
    if what == "a document":  # its child may not be a table of the select(): take the parent alone
        parent = select(items.c.person_id, items.c.item_id)
        columns = [statement.selected_columns[name] for name in names]
        assert compared(model(parent), model(parent.add_columns(*columns))) == Additive(names)
        return
    assert compared(model(BASE), model(statement)) == Additive(names)


def differences(old: ReadModel, new: ReadModel) -> tuple[str, ...]:
    found = compared(old, new)
    assert isinstance(found, Different), found
    assert shape_of(old).fingerprint != shape_of(new).fingerprint
    return found.reasons


assert MESSAGES_BY_CHANNEL.bucket is not None
assert HOME_TIMELINE.fan_out is not None
LITERAL = BASE.where(items.c.price > Decimal("1.50"))
DIFFERENT: dict[str, tuple[ReadModel, ReadModel, str]] = {
    "a column is gone": (model(BASE.add_columns(items.c.note)), model(BASE), "'note' is not selected any more"),
    "a column is renamed": (
        model(BASE),
        model(
            select(items.c.person_id, items.c.item_id, items.c.price, people.c.name.label("maker")).join(
                people, people.c.person_id == items.c.person_id
            )
        ),
        "'name' is not selected any more",
    ),
    "an expression": (
        model(select(items.c.person_id, items.c.item_id, items.c.price.label("cost"))),
        model(select(items.c.person_id, items.c.item_id, (items.c.price * 2).label("cost"))),
        "'items.price AS cost' and is 'items.price * 2 AS cost'",
    ),
    "a filter": (model(BASE), model(LITERAL), "WHERE items.price > 1.50"),
    "a value in a filter": (
        model(LITERAL),
        model(BASE.where(items.c.price > Decimal("1.51"))),
        "1.51",
    ),
    "the join": (
        model(BASE),
        model(
            select(items.c.person_id, items.c.item_id, items.c.price, people.c.name).join(
                people, people.c.person_id == items.c.person_id, isouter=True
            )
        ),
        "LEFT OUTER JOIN",
    ),
    "an added column of another table": (
        model(select(items.c.person_id, items.c.item_id).where(items.c.item_id > 0)),
        model(select(items.c.person_id, items.c.item_id, people.c.name).where(items.c.item_id > 0)),
        "what it selects from",
    ),
    "an added column in the key": (
        model(BASE),
        model(BASE.add_columns(items.c.note), clustering_key=("item_id", "note")),
        "the key was ((person_id), item_id) and is ((person_id), item_id, note)",
    ),
    "the order in a partition": (
        model(BASE),
        model(BASE, clustering_key=(descending("item_id"),)),
        "the key was ((person_id), item_id) and is ((person_id), item_id DESC)",
    ),
    "a wider integer": (of_type(Integer), of_type(BigInteger), "was int in Cassandra and is bigint"),
    "another scale": (of_type(Numeric(10, 2)), of_type(Numeric(10, 3)), "numeric with scale 2 and holds numeric with"),
    "an instant for a number": (
        of_type(BigInteger),
        of_type(DateTime(timezone=True)),
        "held integer and holds timestamptz",
    ),
    "a timestamp with a time zone": (
        of_type(DateTime()),
        of_type(DateTime(timezone=True)),
        "held timestamp and holds timestamptz",
    ),
    "bytes for text": (of_type(Text), of_type(LargeBinary), "was text in Cassandra and is blob"),
    "what count() gives": (
        model(select(items.c.person_id, items.c.item_id, items.c.item_id.label("n"))),
        model(select(items.c.person_id, items.c.item_id, func.count().label("n")).group_by(items.c.item_id)),
        "was int in Cassandra and is bigint",
    ),
    "the bucket's days": (
        MESSAGES_BY_CHANNEL,
        replace(MESSAGES_BY_CHANNEL, bucket=replace(MESSAGES_BY_CHANNEL.bucket, days=9)),
        "the time bucket was",
    ),
    "the feed's cap": (
        HOME_TIMELINE,
        replace(HOME_TIMELINE, fan_out=replace(HOME_TIMELINE.fan_out, cap=900)),
        "fan_out differs in cap",
    ),
    "no feed any more": (HOME_TIMELINE, replace(HOME_TIMELINE, fan_out=None), "fan_out differs in active, author"),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_anything_else_is_different_with_its_reason(what: str) -> None:
    old, new, reason = DIFFERENT[what]
    assert any(reason in told for told in differences(old, new)), differences(old, new)


def test_a_value_that_is_not_printed_still_counts() -> None:
    old, new = (model(BASE.where(func.decode(items.c.note, "hex") == value)) for value in (b"\x01", b"\x02"))
    assert compared(old, old) == Same()
    assert isinstance(compared(old, new), Different)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format":1}', json.dumps({"format": 99})])
def test_what_is_no_shape_is_refused(text: str) -> None:
    with pytest.raises(ShapeFormatError):
        Shape.from_json(text)
