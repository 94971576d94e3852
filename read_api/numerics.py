"""A ``numeric`` as Cassandra sends it: four bytes of scale, then the unscaled number, both two's complement. Pure, and exact.

Rows carry it like that (`read_api.protocol`), because making a `Decimal` of each took most of the time in which a page was
decoded; where a Decimal comes instead, from Postgres or out of a document, it is taken as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal


def plain_column(values: Iterable[bytes | Decimal | None]) -> list[str | None]:
    """`plain` of each, nulls as they are."""
    texts: list[str | None] = []
    head, scale = b"", 0  # a column's values mostly have one scale
    for value in values:
        if isinstance(value, bytes):
            if value[:4] != head:
                head = value[:4]
                scale = int.from_bytes(head, "big", signed=True)
            unscaled = int.from_bytes(value[4:], "big", signed=True)
            if unscaled >= 0 and scale >= 0:
                digits = str(unscaled)
                if scale:
                    if len(digits) <= scale:
                        digits = digits.zfill(scale + 1)
                    digits = f"{digits[:-scale]}.{digits[-scale:]}"
                texts.append(digits)
                continue
        texts.append(None if value is None else plain(value))
    return texts


def plain(value: bytes | Decimal) -> str:
    """Its digits, as many after the point as it has, never an exponent."""
    if not isinstance(value, bytes):
        return format(value, "f")
    scale, unscaled = _parts(value)
    digits = str(abs(unscaled))
    if scale > 0:
        digits = digits.zfill(scale + 1)
        digits = f"{digits[:-scale]}.{digits[-scale:]}"
    elif unscaled:
        digits += "0" * -scale
    return f"-{digits}" if unscaled < 0 else digits


def decimal(value: bytes | Decimal) -> Decimal:
    """Its value."""
    if not isinstance(value, bytes):
        return value
    scale, unscaled = _parts(value)
    return Decimal(f"{unscaled}E{-scale}")


def _parts(value: bytes) -> tuple[int, int]:
    return int.from_bytes(value[:4], "big", signed=True), int.from_bytes(value[4:], "big", signed=True)
