"""Consistency tokens: what a reader is never to be shown less than. Parsed, printed, merged. Pure.

    16/B374D800;orders@16/B374D848;order_items@16/B374D848

The first position holds for every table, each one behind it for a table alone. A read waits for the highest position that
concerns a source table of its read model, so a change of other tables makes it wait for nothing. A bare position is the
token of somebody who knows no tables.

Merged tokens ask for all that each of them asks for: whoever keeps only the merged one forgets nothing. A token never
grows beyond MOST_TABLES tables; past that, all positions give way to their highest, which asks for more, never for less.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from command_api.lsn import InvalidLsnError, Lsn

HEADER = "Consistency-Token"
MOST_TABLES = 32
PATTERN = (
    r"^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}(;[A-Za-z_][A-Za-z0-9_.$]{0,127}@[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}){0,32}$"
)
"""The text of one token, for documents of the APIs."""

_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.$]{0,127}", re.ASCII)
_START = Lsn(0)


class InvalidConsistencyTokenError(ValueError):
    """A text that is no token; the message says what was expected."""


@dataclass(frozen=True, kw_only=True)
class ConsistencyToken:
    """everywhere: the position that holds for every table. tables: higher ones, each of a table by its name."""

    everywhere: Lsn = _START
    tables: Mapping[str, Lsn] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kept = {name: lsn for name, lsn in self.tables.items() if lsn > self.everywhere}
        if len(kept) > MOST_TABLES or not all(map(_TABLE.fullmatch, kept)):
            object.__setattr__(self, "everywhere", max(kept.values()))
            kept = {}
        object.__setattr__(self, "tables", kept)

    @classmethod
    def parse(cls, text: str) -> ConsistencyToken:
        """Read one token; raises InvalidConsistencyTokenError."""
        first, *rest = text.split(";", MOST_TABLES + 1)
        try:
            if len(rest) > MOST_TABLES:
                raise InvalidConsistencyTokenError(f"names more than {MOST_TABLES} tables")
            if not rest:
                return cls(everywhere=Lsn.parse(first))
            tables: dict[str, Lsn] = {}
            for part in rest:
                name, _, position = part.partition("@")
                if not _TABLE.fullmatch(name):
                    raise InvalidConsistencyTokenError(f"has {part[:40]!r}: expected a table's name, @ and a position")
                tables[name] = max(Lsn.parse(position), tables.get(name, _START))
            return cls(everywhere=Lsn.parse(first), tables=tables)
        except InvalidLsnError as error:
            raise InvalidConsistencyTokenError(str(error)) from error

    @classmethod
    def parse_list(cls, text: str) -> ConsistencyToken:
        """Read a header's value, tokens with commas between them, as one; raises InvalidConsistencyTokenError."""
        return merged(cls.parse(part.strip(" \t")) for part in text.split(","))

    @classmethod
    def of(cls, tables: Iterable[str], lsn: Lsn) -> ConsistencyToken:
        """The token of a position that concerns these tables alone."""
        return cls(tables=dict.fromkeys(tables, lsn))

    def position(self, tables: Iterable[str]) -> Lsn:
        """What a reader of these tables is to be shown at least."""
        highest = self.everywhere
        if self.tables:
            for name in tables:
                highest = max(highest, self.tables.get(name, _START))
        return highest

    @property
    def newest(self) -> Lsn:
        """The highest position in it."""
        return max((self.everywhere, *self.tables.values()))

    def __str__(self) -> str:
        return self._text

    @cached_property
    def _text(self) -> str:
        return str(self.everywhere) + "".join(f";{name}@{lsn}" for name, lsn in sorted(self.tables.items()))


def merged(tokens: Iterable[ConsistencyToken]) -> ConsistencyToken:
    """The token that asks for all that these ask for."""
    everywhere, tables = _START, dict[str, Lsn]()
    for token in tokens:
        everywhere = max(everywhere, token.everywhere)
        for name, lsn in token.tables.items():
            tables[name] = max(lsn, tables.get(name, _START))
    return ConsistencyToken(everywhere=everywhere, tables=tables)
