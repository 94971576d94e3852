"""The mark of a partition is the same, whether it is made of a BATCH's entry or of a statement's values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from projections.partition_marks import mark, marks, packed, unpacked

HEAD = b"\x01\x00\x02id\x00\x04"
VALUES = st.lists(st.tuples(st.binary(max_size=3), st.binary(max_size=3), st.binary(max_size=3)), max_size=8)


def entry(values: tuple[bytes, ...]) -> bytes:
    return HEAD + b"".join(len(value).to_bytes(4, "big") + value for value in values)


@given(VALUES)
def test_marks_of_entries_are_those_of_their_partition_keys(rows: list[tuple[bytes, ...]]) -> None:
    for width in (1, 2):
        found = marks([entry(row) for row in rows], len(HEAD), width)
        assert found == {mark(row[:width]) for row in rows}
        assert unpacked(packed(found)) == found


def test_values_are_not_shifted_into_one_another() -> None:
    assert mark([b"ab", b"c"]) != mark([b"a", b"bc"])
