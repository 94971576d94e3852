"""What the catalogue says of a function or operator."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Something that can be maintained exactly.

    name: as SQL writes it. arguments, result: types, for people. rule: what to know where Postgres has choices, or "".
    examples: SQLAlchemy over the sample table `c`; a test runs each over random values in Postgres and here.
    """

    name: str
    arguments: str
    result: str
    rule: str = ""
    examples: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Something that is refused at start-up.

    name: of the construct. reason: why Postgres's answer can't be promised. instead: what to write; "" when nothing but
    refresh= helps. example: SQLAlchemy over the sample table `c`; a test sees that it is refused.
    """

    name: str
    reason: str
    instead: str = ""
    example: str
