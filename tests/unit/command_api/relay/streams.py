"""What the relay's unit tests share: the recorded frames, and transactions over types that need no catalog."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from psycopg.postgres import types as builtin

from command_api.relay.catalog import column_type
from command_api.relay.encodings import ColumnType
from command_api.relay.pgoutput import Relation
from command_api.relay.rows import Origin, RowEncoders, compile_relation
from command_api.relay.transactions import Transactions

FRAMES = [bytes.fromhex(text) for text in json.loads((Path(__file__).parent / "recorded.json").read_text())["frames"]]
MESSAGES = [frame[25:] for frame in FRAMES]
ORIGIN = Origin(name="app", database="db")
KEYS = {"plain": ("id",), "whole": ("id", "part")}


def types(relation: Relation) -> dict[str, ColumnType]:
    """Built-in types by their OIDs, text for the rest (an enum)."""
    names = {info.oid: info.name for info in builtin}
    return {c.name: column_type(names.get(c.type_oid, "text"), c.type_modifier) for c in relation.columns}


def compile_(relation: Relation, first: int | None = None) -> RowEncoders:
    """Encoders with the primary keys of the recorded tables. first: the number of the first column."""
    numbers = None if first is None else {column.name: n for n, column in enumerate(relation.columns, first)}
    return compile_relation(relation, KEYS[relation.name], types(relation), ORIGIN, numbers)


class Log:
    """Records that were emitted, decoded."""

    def __init__(self, *, resume_at: int = 0, numbered: bool = False) -> None:
        self.raw: list[tuple[bytes | None, bytes]] = []
        self.types: list[int] = []
        self.transactions = Transactions(
            emit=lambda key, value: self.raw.append((key, value)),
            compile_relation=partial(compile_, first=3 if numbered else None),
            on_type=self.types.append,
            history="1/1",
            resume_at=resume_at,
        )

    def feed(self, *frames: bytes) -> list[int]:
        """Feed frames; the end LSNs that they gave."""
        return [end for frame in frames if (end := self.transactions.feed(frame))]

    @property
    def values(self) -> list[dict[str, Any]]:
        """Every record's value."""
        return [json.loads(value) for _, value in self.raw]

    @property
    def changes(self) -> list[dict[str, Any]]:
        """The values of changes only."""
        return [value for value in self.values if "op" in value]
