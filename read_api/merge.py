"""Rows of several partitions as one page, in one order, each row once: the core of a merged read. Pure.

    pushed copies   ──┐
    an author's rows ─┼─▶  merge  ──▶  the first `limit` rows of all, and who must read on before that is certain
    another's        ──┘

Contract: a `Stretch` is what is known of one partition from where the page begins. When `Merged.wanting` is empty, the rows
are exactly the first ones of the sorted union of all partitions, equal places taken once, from the stretch that comes
first. A page that goes on after the place of the last row therefore leaves no gap and repeats nothing, whatever the
partitions, their lengths and the limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from read_api.order import BEFORE_ALL, Order, Place, Row, Span


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Rows of one partition in order, none missing up to `known_to`, which is None when these are all that there are."""

    rows: Sequence[Row]
    places: Sequence[Place]
    known_to: Place | None


@dataclass(frozen=True, kw_only=True)
class Merged:
    """rows: of the page. more: whether there may be rows after them. wanting: indexes of stretches to read on first."""

    rows: list[Row]
    more: bool
    wanting: tuple[int, ...]


def stretch(rows: Sequence[Row], order: Order, span: Span, *, ended: bool) -> Stretch:
    """The stretch that rows of one partition are, read in order from the span's beginning or before it.

    ended: the partition has no rows after them.
    """
    places = order.places(rows)
    sides = [span.side(place) for place in places]
    known_to = None if ended or 1 in sides else places[-1] if places else BEFORE_ALL
    kept = [at for at, side in enumerate(sides) if side == 0]
    if len(kept) == len(rows):
        return Stretch(rows=rows, places=places, known_to=known_to)
    return Stretch(rows=[rows[at] for at in kept], places=[places[at] for at in kept], known_to=known_to)


def merge(stretches: Sequence[Stretch], limit: int) -> Merged:
    """The page that the stretches give; see the module."""
    candidates: list[tuple[Place, Row]] = [
        pair for each in stretches for pair in zip(each.places, each.rows, strict=True)
    ]
    candidates.sort(key=_place)  # stable: of equal places the first stretch's row comes first
    rows: list[Row] = []
    last: Place = BEFORE_ALL
    left = False
    for place, row in candidates:
        if place == last:
            continue
        if len(rows) == limit:
            left = True
            break
        rows.append(row)
        last = place
    full = len(rows) == limit
    wanting = tuple(
        index
        for index, each in enumerate(stretches)
        if each.known_to is not None and not (full and each.known_to >= last)
    )
    return Merged(rows=rows, more=left or any(each.known_to is not None for each in stretches), wanting=wanting)


def _place(candidate: tuple[Place, Any]) -> Place:
    return candidate[0]
