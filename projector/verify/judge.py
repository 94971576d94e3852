"""What one look at one key says about it. Pure.

A look: `expected`, the row in Postgres at the consistent point P of a temporary slot; `found`, the row in Cassandra,
read after the read model covered P; `written`, the newest write timestamp of that row's cells.

The worker writes whole rows, and the row of a commit that ends at L is written at a position T >= L. It covered P before
`found` was read, so every write for a commit up to P was there. Hence:

- Equal rows: nothing is wrong, whatever happened meanwhile.
- found at T <= P, and different: wrong. The newest write up to P must show what Postgres shows at P.
- found at T > P: no evidence, the row may have changed after P.
- nothing found: no evidence either, the row may have been deleted after P; Cassandra does not tell when.
- written unknown (a row of keys and nulls has no cell to ask): no evidence.

What gives no evidence is looked at again under a later P. A timestamp that the source's log has not reached yet, or of
another epoch, was written by nobody here: such a row is wrong if it differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

_LSN_BITS = 52
_LSN = (1 << _LSN_BITS) - 1

Row = tuple[Any, ...]


class Finding(StrEnum):
    """The outcome of a look."""

    EQUAL = "equal"
    WRONG = "wrong"
    OPEN = "open"


@dataclass(frozen=True, kw_only=True)
class Look:
    """A key as both sides have it: values of all columns but the key, None when there is no row.

    written: the newest write timestamp of the row's cells, None when it can't be told.
    """

    expected: Row | None
    found: Row | None
    written: int | None = None


def judge(look: Look, *, point: int, end: int, epoch: int) -> Finding:
    """point: P. end: a position of the source's log, asked for after the row was read."""
    if look.expected == look.found:
        return Finding.EQUAL
    if look.found is None or look.written is None:
        return Finding.OPEN
    if is_foreign(look.written, end=end, epoch=epoch) or look.written & _LSN <= point:
        return Finding.WRONG
    return Finding.OPEN


def is_foreign(written: int, *, end: int, epoch: int) -> bool:
    """Whether no worker of this epoch can have written at that timestamp."""
    return written >> _LSN_BITS != epoch or written & _LSN > end


def outlasts(written: int, *, end: int, epoch: int) -> bool:
    """Whether a write at that timestamp stands above whatever a worker writes now: no repair reaches it."""
    return written > (epoch << _LSN_BITS | end)
