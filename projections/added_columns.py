"""Columns that a table got after it was made: each has a position of its own until every row has its value. Pure.

    orders_by_user              the position of the table, as ever
    orders_by_user.avatar_url   that of a column which was added: 0 from before the ALTER until the fill is through

Who declares the column covers no more than the least of them; who does not, and knows nothing of it, goes by the table's
alone, and is held up by no fill. A worker with the column publishes both together once the column is filled. One without it
moves only the table's: whoever comes after it sees how far the column is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


def position_name(table: str, column: str) -> str:
    """Under which name the position of an added column is published."""
    return f"{table}.{column}"


def is_of(position: str, table: str) -> bool:
    """Whether a position's name is a table's, or that of a column of it."""
    return position.partition(".")[0] == table


def own_positions(positions: Mapping[str, T], table: str, columns: Iterable[str]) -> dict[str, T]:
    """Of a table's columns, those with a position of their own, and that position."""
    own = ((column, positions.get(position_name(table, column))) for column in columns)
    return {column: found for column, found in own if found is not None}
