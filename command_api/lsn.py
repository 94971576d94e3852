"""Log sequence numbers: positions in the Postgres write-ahead log, as parsed, ordered and printed everywhere here.

An LSN is a byte offset (64 bits). Postgres prints it as two hexadecimal halves, ``16/B374D848``; that text is also the
consistency token that a command's reply carries. Two LSNs of one timeline compare as their numbers do; nothing is
promised for LSNs of different servers or timelines.
"""

from __future__ import annotations

import re

_TEXT = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
_LIMIT = 1 << 64


class InvalidLsnError(ValueError):
    """A text or number that is no log sequence number."""


class Lsn(int):
    """A log sequence number: an int of bytes that prints as Postgres prints it (``str``); ``f"{lsn:d}"`` is the number."""

    __slots__ = ()

    def __new__(cls, value: int) -> Lsn:
        """Make an LSN of its number; raises InvalidLsnError outside 0 <= value < 2**64."""
        if not 0 <= value < _LIMIT:
            raise InvalidLsnError(f"{value} is no log sequence number: expected 0 to 2**64 - 1")
        return super().__new__(cls, value)

    @classmethod
    def parse(cls, text: str) -> Lsn:
        """Read ``X/X`` as Postgres prints pg_lsn; raises InvalidLsnError."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise InvalidLsnError(
                f"{text[:40]!r} is no log sequence number: expected two hexadecimal halves, as 16/B374D848"
            )
        return cls(int(match[1], 16) << 32 | int(match[2], 16))

    def __str__(self) -> str:
        return f"{self >> 32:X}/{self & 0xFFFFFFFF:X}"

    def __repr__(self) -> str:
        return f"Lsn('{self}')"
