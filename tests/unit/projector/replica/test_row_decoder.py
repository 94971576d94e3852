"""The log's JSON to replica form: every kind, and for whatever doesn't fit one kind of error that names the column."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Float,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    Time,
    Uuid,
    select,
)
from sqlalchemy.dialects import postgresql

from command_api.envelope import UNAVAILABLE
from projections.read_model import ReadModel
from projector.compile.program import compile_models
from projector.replica.values import UNCHANGED, MissingColumnError, RowDecoder, ValueFormatError

LARGE = 1 << 63
CASES: dict[str, tuple[Any, list[tuple[Any, Any]]]] = {
    "boolean": (Boolean(), [(True, 1), (False, 0)]),
    "smallint": (SmallInteger(), [(-32768, -32768), (32767, 32767)]),
    "integer": (Integer(), [(0, 0), (-(1 << 31), -(1 << 31))]),
    "bigint": (BigInteger(), [(LARGE - 1, LARGE - 1), (-LARGE, -LARGE)]),
    "numeric": (
        Numeric(12, 2),
        [("12.50", 1250), ("-0.01", -1), ("0", 0), ("1e3", 100_000), ("9999999999.99", 999_999_999_999)],
    ),
    "numeric without a point": (Numeric(9, 0), [("7", 7), ("-7", -7)]),
    "numeric passed through": (Numeric(), [("1.2345678901234567890123", "1.2345678901234567890123"), ("NaN", "NaN")]),
    "float": (Float(), [(1.5, 1.5), (2, 2.0), ("NaN", "NaN"), ("-Infinity", "-Infinity")]),
    "text": (Text(), [("", ""), ("é\U0001f600\n'", "é\U0001f600\n'")]),
    "uuid": (Uuid(), [("00000000-0000-7000-8000-00000000000a", "00000000-0000-7000-8000-00000000000a")]),
    "bytes": (LargeBinary(), [("", b""), ("AP8=", b"\x00\xff")]),
    "json": (JSON(), [('{"a": 1}', '{"a": 1}')]),
    "date": (Date(), [(0, 0), (-719_163, -719_163), (-2147472692, (1 << 31) - 1), (-2147472691, -(1 << 31))]),
    "time": (Time(), [(86_399_999_999, 86_399_999_999)]),
    "time(3)": (postgresql.TIME(precision=3), [(86_399_999, 86_399_999_000)]),
    "timestamp": (DateTime(), [(1, 1), (9223372036825200000, LARGE - 1), (-9223372036832400000, -LARGE)]),
    "timestamp(3)": (
        postgresql.TIMESTAMP(precision=3),
        [(1, 1000), (9223372036825200, LARGE - 1), (-9223372036832400, -LARGE)],
    ),
    "timestamptz": (
        DateTime(timezone=True),
        [
            ("1970-01-01T00:00:00.000001Z", 1),
            ("1969-12-31T23:59:59Z", -1_000_000),
            ("2024-02-29T12:00:00.5Z", 1_709_208_000_500_000),
            ("-0043-03-15T12:00:00.000000Z", -63_517_780_800_000_000),
            ("+10000-01-01T00:00:00.000000Z", 253_402_300_800_000_000),
            ("infinity", LARGE - 1),
            ("-infinity", -LARGE),
        ],
    ),
    "interval": (Interval(), [(-5, -5)]),
    "array": (ARRAY(Integer), [([1, None], "[1,null]")]),
}
WRONG: dict[str, list[Any]] = {
    "boolean": [0, "t"],
    "smallint": [32768, 1.5, "1"],
    "integer": [1 << 31, True, [1]],
    "bigint": [LARGE, 10**30],
    "numeric": ["NaN", "Infinity", "1.005", "x", "", 1.5],
    "float": [True, [1]],
    "text": [1, {}],
    "uuid": ["x", 1],
    "bytes": ["?", "A", 1],
    "date": ["2024-01-01", 1 << 40],
    "timestamptz": [
        "yesterday",
        "2024-13-01T00:00:00Z",
        "2024-01-01T00:00:00",
        1,
        "+99999999999999999999-01-01T00:00:00Z",
    ],
    "array": ["{1}", 1],
}


def decoder(column_type: Any) -> RowDecoder:
    """Of a table with a key and one column."""
    table = Table("v", MetaData(), Column("id", Integer, primary_key=True), Column("value", column_type))
    model = ReadModel(name="m", select=select(table.c.id, table.c.value), partition_key=("id",))
    return RowDecoder(compile_models([model]).tables["public.v"])


def raw(value: Any) -> msgspec.Raw:
    """As the envelope holds a row."""
    return msgspec.Raw(json.dumps(value).encode())


@pytest.mark.parametrize("name", CASES)
def test_every_kind(name: str) -> None:
    column_type, pairs = CASES[name]
    read = decoder(column_type)
    for given_value, wanted in pairs:
        for decode in (read.row, read.updated):
            found = decode(raw({"id": 1, "value": given_value, "other": ["ignored"]}))
            assert found == (1, wanted)
            assert type(found[1]) is type(wanted)
    assert read.row(raw({"id": 1, "value": None})) == (1, None)
    assert read.key(raw({"id": 1})) == (1,)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_names_its_column(name: str) -> None:
    read = decoder(CASES[name][0])
    for value in WRONG[name]:
        with pytest.raises(ValueFormatError, match=r"public\.v\.value"):
            read.row(raw({"id": 1, "value": value}))


def test_what_is_missing_is_named() -> None:
    read = decoder(Text())
    with pytest.raises(ValueFormatError, match=r"public\.v\.value"):
        read.row(raw({"id": 1}))
    for row in ({"value": "a"}, {"id": None, "value": "a"}):
        with pytest.raises(ValueFormatError, match=r"public\.v\.id"):
            read.row(raw(row))
    with pytest.raises(ValueFormatError, match=r"public\.v\.id"):
        read.key(raw({"id": None}))


@pytest.mark.parametrize(
    ("column_type", "placeholder"),
    [
        (Text(), UNAVAILABLE),
        (JSON(), UNAVAILABLE),
        (Numeric(12, 2), UNAVAILABLE),
        (LargeBinary(), base64.b64encode(UNAVAILABLE.encode()).decode()),
        (ARRAY(Text), [UNAVAILABLE]),
        (ARRAY(LargeBinary), [base64.b64encode(UNAVAILABLE.encode()).decode()]),
        (ARRAY(Integer), list(UNAVAILABLE.encode())),
        (ARRAY(Uuid), ["b68a35a7-17ad-35b3-af2a-ae46edb4545a"]),
    ],
)
def test_an_unchanged_value_is_told_from_a_value(column_type: Any, placeholder: Any) -> None:
    assert decoder(column_type).updated(raw({"id": 1, "value": placeholder})) == (1, UNCHANGED)


@pytest.mark.parametrize("name", CASES)
@given(garbage=st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_garbage_is_one_kind_of_error(name: str, garbage: bytes) -> None:
    read = decoder_of(name)
    for text in (garbage, b'{"id":1,"value":' + garbage + b"}"):
        for decode in (read.row, read.updated, read.key):
            with contextlib.suppress(ValueFormatError):
                decode(msgspec.Raw(text))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@pytest.mark.parametrize("name", CASES)
@given(value=_JSON)
def test_any_json_gives_a_row_or_that_error(name: str, value: Any) -> None:
    try:
        row = decoder_of(name).row(raw({"id": 1, "value": value}))
    except ValueFormatError:
        return
    assert isinstance(row[1], int | float | str | bytes | None)


_DECODERS: dict[str, RowDecoder] = {}


def decoder_of(name: str) -> RowDecoder:
    """Compiled once."""
    if name not in _DECODERS:
        _DECODERS[name] = decoder(CASES[name][0])
    return _DECODERS[name]


def test_a_missing_column_is_told_apart_from_a_wrong_value() -> None:
    """The way on is another: the record is Postgres's own."""
    table = Table("t", MetaData(), Column("id", Integer, primary_key=True), Column("a", Integer))
    program = compile_models((ReadModel(name="m", select=select(table), partition_key=("id",)),))
    decoder = RowDecoder(program.tables["public.t"])
    with pytest.raises(MissingColumnError, match=r"public\.t\.a "):
        decoder.row(msgspec.Raw(b'{"id": 1, "b": 2}'))
    with pytest.raises(MissingColumnError, match=r"public\.t\.id "):
        decoder.key(msgspec.Raw(b'{"other": 1}'))
    with pytest.raises(ValueFormatError) as caught:
        decoder.row(msgspec.Raw(b'{"id": 1, "a": "text"}'))
    assert not isinstance(caught.value, MissingColumnError)
