"""A document's replica form: SQLite prints the same bytes, and what is read is what was written."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.document_values import DocumentFormatError, decode, encode, from_postgres
from projections.values import Kind, ValueType

WIDE = st.integers(-(2**63), 2**63 - 1)
CHARACTERS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
FIELDS = (
    ("n", ValueType(kind=Kind.INTEGER, bits=64)),
    ("t", ValueType(kind=Kind.TEXT)),
    ("m", ValueType(kind=Kind.NUMERIC, precision=12, scale=2)),
    ("o", ValueType(kind=Kind.NUMERIC)),
)
ROWS = st.lists(
    st.tuples(st.none() | WIDE, st.none() | CHARACTERS, st.none() | WIDE, st.none() | st.just("1.10")), max_size=5
)


@given(ROWS)
def test_sqlite_prints_the_same_text(rows: list[tuple[Any, ...]]) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (place INTEGER, n INTEGER, t TEXT, m INTEGER, o TEXT)")
    connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", [(i, *row) for i, row in enumerate(rows)])
    ((text,),) = connection.execute(
        "SELECT json_group_array(json_array(n, t, m, o)) FROM (SELECT * FROM t ORDER BY place)"
    )
    connection.close()
    assert text == encode(rows)
    assert decode(text, FIELDS) == rows


def test_sqlite_escapes_every_character_of_the_basic_plane_alike() -> None:
    text = "".join(chr(n) for n in range(1, 0x10000) if not 0xD800 <= n < 0xE000) + "\U0001f642"
    connection = sqlite3.connect(":memory:")
    ((printed,),) = connection.execute("SELECT json_group_array(json_array(?))", (text,))
    connection.close()
    assert printed == encode([(text,)])
    assert decode(printed, FIELDS[1:2]) == [(text,)]


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '[["1","a",1,"1"]]', "[[1,2,3,4]]", '[[1,"a",1]]', '[[1,"a",1.5,"1"]]', '[[true,"a",1,"1"]]']
)  # fmt: skip
def test_a_text_of_other_fields_is_refused(text: str) -> None:
    with pytest.raises(DocumentFormatError, match=r"\(n, t, m, o\)"):
        decode(text, FIELDS)


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ('{"n":"x","t":"","m":1,"o":1}', "n"),
        ('{"n":1,"t":"","m":1.001,"o":1}', "m"),
        ('{"n":1,"t":"","m":"NaN","o":1}', "m"),
        ('{"n":1,"t":"","m":1}', "n, t, m"),
        ('{"t":"","n":1,"m":1,"o":1}', "t, n, m, o"),
    ],
)
def test_what_postgres_does_not_print_is_refused(row: str, name: str) -> None:
    with pytest.raises(DocumentFormatError, match=f"fields? {name}"):
        from_postgres(f"[{row}]", FIELDS)
