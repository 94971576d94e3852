"""What goes in through a URL comes out in JSON as the same value, for every kind; what does not fit is refused."""

import contextlib
import json
import math
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from cassandra.cqltypes import DecimalType
from hypothesis import example, given
from hypothesis import strategies as st

from projections.values import Kind, ValueType
from read_api import numerics
from read_api.literals import MAX_BYTES, LiteralError, read_literal
from read_api.rendering import RowRenderer

TYPES = {
    kind: ValueType(kind=kind, bits=64 if kind is Kind.INTEGER else 0, scale=2 if kind is Kind.NUMERIC else None)
    for kind in Kind
}


def rendered(kind: ValueType, value: Any) -> Any:
    """The JSON of one cell."""
    return json.loads(msgspec.json.encode(RowRenderer({"c": kind})([(value,)])))[0]["c"]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Kind.BOOLEAN, "true", True),
        (Kind.BOOLEAN, "false", False),
        (Kind.INTEGER, "-9223372036854775808", -(1 << 63)),
        (Kind.NUMERIC, "12.50", "12.50"),
        (Kind.NUMERIC, "12.5", "12.50"),
        (Kind.NUMERIC, "12", "12.00"),
        (Kind.NUMERIC, "12.5000", "12.50"),
        (Kind.NUMERIC, "-0", "0.00"),
        (Kind.NUMERIC, "123456789012345678901234567890123456789.01", "123456789012345678901234567890123456789.01"),
        (Kind.FLOAT, "1.5", 1.5),
        (Kind.FLOAT, "NaN", "NaN"),
        (Kind.FLOAT, "-Infinity", "-Infinity"),
        (Kind.TEXT, "a/b ü", "a/b ü"),
        (Kind.UUID, "01890A5D-AC96-774B-BCCE-B302099A8057", "01890a5d-ac96-774b-bcce-b302099a8057"),
        (Kind.BYTES, "-_8=", "+/8="),
        (Kind.JSON, '{"a":[1.10,null]}', {"a": [1.1, None]}),
        (Kind.ARRAY, "[1,2]", [1, 2]),
        (Kind.DATE, "2024-02-29", "2024-02-29"),
        (Kind.DATE, "-infinity", "-infinity"),
        (Kind.TIME, "23:59:59.999999", "23:59:59.999999"),
        (Kind.TIMESTAMP, "2024-02-29T12:00:00.1", "2024-02-29T12:00:00.100000"),
        (Kind.TIMESTAMP, "infinity", "infinity"),
        (Kind.TIMESTAMPTZ, "2024-02-29T12:00:00+02:00", "2024-02-29T10:00:00.000000Z"),
        (Kind.TIMESTAMPTZ, "-infinity", "-infinity"),
        (Kind.INTERVAL, "-5", -5),
    ],
)
def test_in_and_out(kind: Kind, text: str, value: Any) -> None:
    assert rendered(TYPES[kind], read_literal(TYPES[kind], text)) == value


@pytest.mark.parametrize("kind", Kind)
def test_a_null_is_null(kind: Kind) -> None:
    assert rendered(TYPES[kind], None) is None


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Kind.BOOLEAN, "1"), (Kind.BOOLEAN, ""), (Kind.INTEGER, "1.0"), (Kind.INTEGER, "9223372036854775808"),
        (Kind.INTEGER, "\u0661"), (Kind.INTEGER, ""), (Kind.NUMERIC, "1.234"), (Kind.NUMERIC, "1e5"), (Kind.NUMERIC, "NaN"),
        (Kind.FLOAT, "x"), (Kind.FLOAT, "1_0"), (Kind.UUID, "x"), (Kind.UUID, "{01890a5d-ac96-774b-bcce-b302099a8057}"),
        (Kind.BYTES, "a"), (Kind.BYTES, "ä"), (Kind.DATE, "today"), (Kind.TIME, "24:00:00"), (Kind.TIMESTAMP, "2024-02-29"),
        (Kind.TIMESTAMPTZ, "2024-02-29T12:00:00"), (Kind.TEXT, "a\0"), (Kind.TEXT, "ä" * (MAX_BYTES // 2 + 1)),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(kind: Kind, text: str) -> None:
    with pytest.raises(LiteralError, match=r"expected|missing|out of range|leave"):
        read_literal(TYPES[kind], text)


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_integers_keep_to_their_column(bits: int) -> None:
    kind, limit = ValueType(kind=Kind.INTEGER, bits=bits), 1 << (bits - 1)
    assert read_literal(kind, str(limit - 1)) == limit - 1
    assert read_literal(kind, str(-limit)) == -limit
    for outside in (limit, -limit - 1):
        with pytest.raises(LiteralError):
            read_literal(kind, str(outside))


@given(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**15), max_value=10**15))
def test_a_numeric_has_the_columns_scale(value: Decimal) -> None:
    read = read_literal(TYPES[Kind.NUMERIC], format(value, "f"))
    assert read == value
    assert read.as_tuple().exponent == -2
    assert Decimal(rendered(TYPES[Kind.NUMERIC], read)) == value


@given(st.decimals(allow_nan=False, allow_infinity=False, places=12))
def test_a_numeric_is_printed_without_exponent(value: Decimal) -> None:
    text = rendered(TYPES[Kind.NUMERIC], value)
    assert "E" not in text
    assert Decimal(text) == value


@given(st.floats())
def test_a_float_is_exact(value: float) -> None:
    text = rendered(TYPES[Kind.FLOAT], value)
    back = float(text)
    assert back == value or (math.isnan(back) and math.isnan(value))


@given(st.uuids())
def test_a_uuid_is_the_same_from_bytes_and_from_an_object(value: UUID) -> None:
    assert rendered(TYPES[Kind.UUID], value.bytes) == rendered(TYPES[Kind.UUID], value) == str(value)


@given(st.binary())
def test_bytes_come_back(value: bytes) -> None:
    assert read_literal(TYPES[Kind.BYTES], rendered(TYPES[Kind.BYTES], value)) == value


@given(st.sampled_from(list(Kind)), st.text())
def test_any_text_is_read_or_refused(kind: Kind, text: str) -> None:
    with contextlib.suppress(LiteralError):
        read_literal(TYPES[kind], text)


def test_a_page_is_rendered_column_by_column() -> None:
    render = RowRenderer({"class": TYPES[Kind.INTEGER], "at": TYPES[Kind.TIMESTAMPTZ], "x": TYPES[Kind.NUMERIC]})
    rows = [(1, 0, None), (2, None, Decimal("1E+2"))]
    assert json.loads(msgspec.json.encode(render(rows))) == [
        {"class": 1, "at": "1970-01-01T00:00:00.000000Z", "x": None},
        {"class": 2, "at": None, "x": "100"},
    ]
    assert render([]) == []


@given(st.decimals(allow_nan=False, allow_infinity=False), st.integers(-60, 60))
@example(Decimal("-0.05"), 0)
@example(Decimal("0E+3"), 0)
@example(Decimal("0.00"), 0)
@example(Decimal("0.12"), 0)
@example(Decimal("5"), -3)
@example(Decimal("37"), 0)
def test_a_numeric_as_it_is_sent_is_the_driver_s_decimal(value: Decimal, shift: int) -> None:
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    sent = DecimalType.serialize(Decimal((sign, digits, max(-400, min(400, exponent)) + shift)), 5)
    decoded = DecimalType.deserialize(sent, 5)
    assert numerics.plain(sent) == numerics.plain(decoded) == format(decoded, "f")
    assert numerics.decimal(sent).as_tuple() == decoded.as_tuple()
    kind, other = ValueType(kind=Kind.NUMERIC), DecimalType.serialize(Decimal("7.5"), 5)
    column = [sent, None, other, decoded, other, sent]
    found = json.loads(msgspec.json.encode(RowRenderer({"c": kind})([(cell,) for cell in column])))
    plain = format(decoded, "f")
    assert [row["c"] for row in found] == [plain, None, "7.5", plain, "7.5", plain]
