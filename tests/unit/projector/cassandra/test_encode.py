"""Entries of a batch against the driver's own decoding of each CQL type, and what is refused before it is sent."""

from __future__ import annotations

import struct
import uuid
from decimal import Decimal
from typing import Any

import pytest
from cassandra.cqltypes import lookup_casstype
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.cassandra_table import CassandraTable
from projections.read_model import Clustering
from projections.values import Kind, ValueType
from projector.cassandra.encode import KEY_BYTES, RowEncoder

TEXT = ValueType(kind=Kind.TEXT)
BIGINT = ValueType(kind=Kind.INTEGER, bits=64)
DAYS = st.integers(-2_440_588, 2_145_042_906)
WIDE = st.integers(-(2**63), 2**63 - 1)
CASS = {
    "boolean": "BooleanType",
    "smallint": "ShortType",
    "int": "Int32Type",
    "bigint": "LongType",
    "decimal": "DecimalType",
    "double": "DoubleType",
    "text": "UTF8Type",
    "uuid": "UUIDType",
    "blob": "BytesType",
    "date": "SimpleDateType",
    "time": "TimeType",
}
KINDS: dict[str, tuple[ValueType, st.SearchStrategy[Any]]] = {
    "boolean": (ValueType(kind=Kind.BOOLEAN), st.sampled_from([0, 1])),
    "smallint": (ValueType(kind=Kind.INTEGER, bits=16), st.integers(-(2**15), 2**15 - 1)),
    "int": (ValueType(kind=Kind.INTEGER, bits=32), st.integers(-(2**31), 2**31 - 1)),
    "bigint": (BIGINT, WIDE),
    "numeric": (ValueType(kind=Kind.NUMERIC, precision=12, scale=2), st.integers(-(10**12), 10**12)),
    "negative scale": (ValueType(kind=Kind.NUMERIC, precision=6, scale=-3), st.integers(-(10**6), 10**6)),
    "opaque numeric": (
        ValueType(kind=Kind.NUMERIC),
        st.decimals(allow_nan=False, allow_infinity=False).map(lambda value: f"{value:f}"),
    ),
    "float": (ValueType(kind=Kind.FLOAT), st.floats(allow_nan=False) | st.sampled_from(["NaN", "Infinity"])),
    "text": (TEXT, st.text(st.characters(exclude_categories=["Cs"]))),
    "uuid": (ValueType(kind=Kind.UUID), st.uuids().map(str)),
    "bytes": (ValueType(kind=Kind.BYTES), st.binary()),
    "json": (ValueType(kind=Kind.JSON), st.sampled_from(["{}", '{"a": "é"}', "null"])),
    "date": (ValueType(kind=Kind.DATE), DAYS),
    "time": (ValueType(kind=Kind.TIME), st.integers(0, 86_399_999_999)),
    "timestamp": (ValueType(kind=Kind.TIMESTAMP), WIDE),
    "timestamptz": (ValueType(kind=Kind.TIMESTAMPTZ), WIDE),
    "interval": (ValueType(kind=Kind.INTERVAL), WIDE),
    "array": (ValueType(kind=Kind.ARRAY), st.sampled_from(["[]", "[1, null]"])),
}


def table(
    columns: dict[str, ValueType], partition: tuple[str, ...] = ("id",), clustering: tuple[str, ...] = ()
) -> CassandraTable:
    return CassandraTable(
        keyspace="k",
        name="t",
        columns=columns,
        partition_key=partition,
        clustering=tuple(Clustering(column=c) for c in clustering),
    )


def values(entry: bytes, statement_id: bytes = b"id") -> list[bytes | None]:
    """The values of a batch entry: kind 1, short id, count, then [int length][bytes] each."""
    head = b"\x01" + struct.pack(">H", len(statement_id)) + statement_id
    assert entry.startswith(head)
    (count,) = struct.unpack_from(">H", entry, len(head))
    at, found = len(head) + 2, list[bytes | None]()
    for _ in range(count):
        (length,) = struct.unpack_from(">i", entry, at)
        at += 4
        found.append(None if length < 0 else entry[at : at + length])
        at += max(length, 0)
    assert at == len(entry)
    return found


def expected(kind: ValueType, value: Any) -> Any:
    match kind.kind:
        case Kind.BOOLEAN:
            return bool(value)
        case Kind.NUMERIC:
            return Decimal(value) if kind.scale is None else Decimal(value).scaleb(-kind.scale)
        case Kind.FLOAT:
            return float(value)
        case Kind.UUID:
            return uuid.UUID(value)
    return value


def decoded(kind: ValueType, data: bytes) -> Any:
    value = lookup_casstype(CASS[kind.cql]).deserialize(data, 5)
    match kind.kind:
        case Kind.DATE:
            return value.days_from_epoch
        case Kind.TIME:
            return value.nanosecond_time / 1000
    return value


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
def test_every_kind_is_read_back_by_the_driver(name: str, data: st.DataObject) -> None:
    kind, strategy = KINDS[name]
    value = data.draw(strategy)
    (entry,) = RowEncoder(table({"id": BIGINT, "v": kind})).bind(b"id", [(7, value)])
    first, second = values(entry)
    assert first == struct.pack(">q", 7)
    assert second is not None
    found = decoded(kind, second)
    if kind.kind is Kind.FLOAT and value == "NaN":
        assert found != found
    else:
        assert found == expected(kind, value)
    if kind.kind is Kind.NUMERIC:  # a key is compared by its bytes: they must be those that a reader binds
        assert second == lookup_casstype("DecimalType").serialize(found, 5)


@given(st.lists(st.tuples(WIDE, *[st.none() | strategy for _, strategy in KINDS.values()]), max_size=4))
def test_rows_of_every_kind_side_by_side_with_nulls(rows: list[tuple[Any, ...]]) -> None:
    columns = {"id": BIGINT} | {f"c{i}": kind for i, (kind, _) in enumerate(KINDS.values())}
    entries = RowEncoder(table(columns)).bind(b"id", rows)
    assert len(entries) == len(rows)
    for row, entry in zip(rows, entries, strict=True):
        found = values(entry)
        assert [data is None for data in found] == [value is None for value in row]
        alone = [
            values(RowEncoder(table({"id": BIGINT, "v": kind})).bind(b"id", [(0, value)])[0])[1]
            for kind, value in zip(columns.values(), row, strict=True)
        ]
        assert found == alone


@pytest.mark.parametrize("partition", [("id",), ("id", "at"), ("name",), ("name", "id")])
@settings(max_examples=25)
@given(data=st.data(), at=st.integers(0, len(KINDS) - 1))
def test_rows_that_differ_in_their_partition_are_encoded_as_if_alone(
    partition: tuple[str, ...], data: st.DataObject, at: int
) -> None:
    columns = {f"c{i}": kind for i, (kind, _) in enumerate(KINDS.values()) if kind.kind is not Kind.FLOAT}
    tail = st.tuples(*[st.none() | each for kind, each in KINDS.values() if kind.kind is not Kind.FLOAT])
    one, other = data.draw(tail), data.draw(tail)
    keys = {"id": BIGINT, "at": BIGINT, "name": TEXT}
    clustering = tuple(name for name in keys if name not in partition)
    own = {name: keys[name] for name in (*partition, *clustering)}
    encoder = RowEncoder(table(own | columns, partition, clustering))
    tails = one, (*one[:at], *other[at : at + 1], *one[at + 1 :])
    rows = [(*key_values(partition, n), *key_values(clustering, 1), *tail) for n in range(90) for tail in tails]
    alone = [entry for row in rows for entry in encoder.bind(b"id", [row])]
    assert encoder.bind(b"id", rows) == alone


def key_values(names: tuple[str, ...], number: int) -> list[Any]:
    return [f"reader {number}" if name == "name" else number for name in names]


def test_equal_floats_of_different_bytes_stay_apart() -> None:
    encoder = RowEncoder(table({"id": BIGINT, "v": ValueType(kind=Kind.FLOAT)}))
    entries = encoder.bind(b"id", [(n, 0.0 if n else -0.0) for n in range(90)])
    assert [values(entry)[1] for entry in entries[:2]] == [struct.pack(">d", -0.0), struct.pack(">d", 0.0)]


@pytest.mark.parametrize(
    ("key", "at", "reason"),
    [
        ("", "b", "whole partition key"),
        ("x" * (KEY_BYTES + 1), "b", "partition key is over"),
        ("a", "x" * (KEY_BYTES + 1), "clustering key is over"),
        (None, "b", "null"),
        ("a", None, "null"),
    ],
)
def test_one_copy_of_many_whose_key_can_not_be_held_is_refused(key: Any, at: Any, reason: str) -> None:
    encoder = RowEncoder(table({"id": TEXT, "at": TEXT, "v": TEXT}, ("id",), ("at",)))
    rows = [*((f"reader {n}", "b", "v") for n in range(90)), (key, at, "v")]
    with pytest.raises(ValueError, match=reason):
        encoder.bind(b"id", rows)


def test_keys_are_encoded_in_the_order_of_the_key() -> None:
    encoder = RowEncoder(table({"a": TEXT, "b": BIGINT, "v": TEXT}, ("a",), ("b",)))
    assert values(encoder.bind_keys(b"id", [("x", 2)])[0]) == [b"x", struct.pack(">q", 2)]


REFUSED = [
    ("smallint", 2**15, "32767"),
    ("int", 2**31, "i"),
    ("bigint", 2**63, "int"),
    ("boolean", 2, "expected 0 or 1"),
    ("date", 2**31 - 2, "no date of Postgres"),
    ("date", -(2**31) + 1, "no date of Postgres"),
    ("time", 86_400_000_000, "before 24:00"),
    ("time", -1, "no time of day"),
    ("uuid", "0190b3a2", "no uuid"),
    ("uuid", "zz90b3a2-1111-7222-8333-444455556666", "hexadecimal"),
    ("opaque numeric", "NaN", "neither NaN nor infinity"),
    ("opaque numeric", "-Infinity", "neither NaN nor infinity"),
    ("opaque numeric", "many", ""),
    ("text", "\ud800", "surrogates"),
    ("text", 5, "encode"),
    ("bytes", "text", "expected bytes"),
    ("bigint", "5", "int"),
    ("float", "abc", "float"),
]


@pytest.mark.parametrize(("name", "value", "reason"), REFUSED)
def test_a_value_without_a_cql_form_is_refused_by_column_and_key(name: str, value: Any, reason: str) -> None:
    encoder = RowEncoder(table({"id": BIGINT, "v": KINDS[name][0]}))
    rows = [(1, None), (2, value), (3, None)]
    with pytest.raises(ValueError):  # noqa: PT011 (the message is refusals' affair)
        encoder.bind(b"id", rows)
    ((index, refused),) = encoder.refusals(rows)
    assert (index, refused.table, refused.key) == (1, "k.t", {"id": 2})
    assert refused.reason.startswith(f"column v ({KINDS[name][0].cql}): ")
    assert reason in refused.reason


@pytest.mark.parametrize(
    ("partition", "clustering", "row", "reason"),
    [
        (("a",), (), ("", "b", 1), "empty value"),
        (("a",), (), (None, "b", 1), "key column is null"),
        (("a",), ("b",), ("a", None, 1), "key column is null"),
        (("a",), (), ("x" * (KEY_BYTES + 1), "b", 1), "partition key is over"),
        (("a", "b"), (), ("x" * 40_000, "y" * 30_000, 1), "partition key is over"),
        (("a",), ("b",), ("a", "é" * 40_000, 1), "clustering key is over"),
    ],
)
def test_a_key_that_cassandra_can_not_hold_is_refused(
    partition: tuple[str, ...], clustering: tuple[str, ...], row: tuple[Any, ...], reason: str
) -> None:
    encoder = RowEncoder(table({"a": TEXT, "b": TEXT, "v": BIGINT}, partition, clustering))
    ((_, refused),) = encoder.refusals([row])
    assert reason in refused.reason
    width = len(partition) + len(clustering)
    ((_, refused),) = encoder.refusals([row[:width]], keys_only=True)
    assert reason in refused.reason


def test_an_empty_text_beside_another_key_column_is_a_good_key() -> None:
    encoder = RowEncoder(table({"a": TEXT, "b": TEXT, "v": BIGINT}, ("a", "b")))
    assert values(encoder.bind(b"id", [("", "", 1)])[0])[:2] == [b"", b""]


def test_a_row_of_another_width_is_refused() -> None:
    encoder = RowEncoder(table({"id": BIGINT, "v": TEXT}))
    assert [(i, r.reason) for i, r in encoder.refusals([(1,), (1, "a", 2)])] == [
        (0, "1 values for 2 columns"),
        (1, "3 values for 2 columns"),
    ]


def test_a_numeric_of_more_digits_than_python_reads_as_text_is_exact() -> None:
    digits = "7" * 20_000 + ".5"
    (entry,) = RowEncoder(table({"id": BIGINT, "v": ValueType(kind=Kind.NUMERIC)})).bind(b"id", [(1, digits)])
    data = values(entry)[1]
    assert data is not None
    assert data[:4] == b"\0\0\0\1"
    assert int.from_bytes(data[4:], "big", signed=True) % 10**9 == 777_777_775
