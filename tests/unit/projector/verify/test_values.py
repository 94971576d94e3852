"""Values in replica form from both sides, and back; keys as SQL; what a person reads."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import pytest
from cassandra.util import Date, Time
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import ARRAY, REAL, Integer, Numeric, Text

from projections.values import Kind, ValueType, value_type
from projector.verify import cassandra_values, postgres_values
from projector.verify.report import shown

MONEY = ValueType(kind=Kind.NUMERIC, precision=12, scale=2)
FREE = ValueType(kind=Kind.NUMERIC)
UUID = uuid.UUID(int=7)


@pytest.mark.parametrize(
    ("kind", "cell", "replica"),
    [
        (ValueType(kind=Kind.BOOLEAN), True, 1),
        (ValueType(kind=Kind.UUID), UUID, str(UUID)),
        (ValueType(kind=Kind.DATE), Date(-5), -5),
        (ValueType(kind=Kind.TIME), Time(7_000), 7),
        (MONEY, Decimal("-1.50"), -150),
    ],
)
def test_cells_and_parameters_are_each_others_inverse(kind: ValueType, cell: Any, replica: Any) -> None:
    convert = cassandra_values.reader(kind)
    assert convert is not None
    assert convert(cell) == replica
    assert cassandra_values.parameter(replica, kind) == cell


def test_a_decimal_of_another_scale_equals_no_replica_value() -> None:
    convert = cassandra_values.reader(MONEY)
    assert convert is not None
    assert not isinstance(convert(Decimal("1.5")), int)


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_opaque_numerics_are_printed_as_postgres_prints_them(number: Decimal) -> None:
    convert = cassandra_values.reader(FREE)
    assert convert is not None
    assert "E" not in convert(number)
    assert Decimal(convert(number)) == number


def test_what_a_document_s_cells_become() -> None:
    fields = (("city", ValueType(kind=Kind.TEXT)), ("cents", MONEY), ("id", ValueType(kind=Kind.UUID)))
    convert = cassandra_values.reader(ValueType(kind=Kind.DOCUMENT, fields=fields))
    assert convert is not None
    assert convert([("é", Decimal("1.00"), UUID), (None, None, None)]) == f'[["é",100,"{UUID}"],[null,null,null]]'


def test_floats_without_a_number_in_json_are_texts() -> None:
    found = [postgres_values.replica_float(float(text)) for text in ("nan", "inf", "-inf", "1.5")]
    assert found == ["NaN", "Infinity", "-Infinity", 1.5]


def test_numbers_that_the_scale_can_not_hold_differ_from_every_cell() -> None:
    convert = postgres_values.reader(MONEY)
    assert convert is not None
    assert [convert(text) for text in ("-150", "150.5", "NaN")] == [-150, "150.5", "NaN"]


def test_arrays_that_json_prints_otherwise_than_the_log_are_left_out() -> None:
    found = {
        item: postgres_values.comparable(value_type(ARRAY(item)), ARRAY(item))
        for item in (Integer, Text, Numeric, REAL)
    }
    assert found == {Integer: True, Text: True, Numeric: True, REAL: False}


@pytest.mark.parametrize(
    ("kind", "value", "sql"),
    [
        (ValueType(kind=Kind.TEXT), "it's", "'it''s'"),
        (ValueType(kind=Kind.TEXT), "back\\slash'", "E'back\\\\slash'''"),
        (ValueType(kind=Kind.BYTES), b"\x00\xff", "'\\x00ff'"),
        (ValueType(kind=Kind.BOOLEAN), 0, "false"),
        (MONEY, -150, "-1.50"),
        (ValueType(kind=Kind.DATE), (1 << 31) - 1, "date 'infinity'"),
        (ValueType(kind=Kind.TIMESTAMPTZ), -(1 << 63), "timestamptz '-infinity'"),
    ],
)
def test_keys_as_sql(kind: ValueType, value: Any, sql: str) -> None:
    assert postgres_values.literal(value, kind) == sql


def test_what_a_person_reads() -> None:
    assert shown(1, ValueType(kind=Kind.TIMESTAMPTZ)) == "1970-01-01T00:00:00.000001Z"
    assert shown(-1, ValueType(kind=Kind.DATE)) == "1969-12-31"
    assert shown((1 << 63) - 1, ValueType(kind=Kind.TIMESTAMP)) == "infinity"
    assert shown(1 << 62, ValueType(kind=Kind.TIMESTAMP)) == 1 << 62, "a year beyond those that can be written"
    assert shown(-150, MONEY) == "-1.50"
    assert shown(b"a", ValueType(kind=Kind.BYTES)) == "YQ=="
    assert shown(None, MONEY) is None
