"""Trims as adverse as they can be: of any partition that was ever over its cap, sent after any commit, arriving at any time.

What a trim takes is decided by what is in the store when it is made, with or without what other workers have under way;
its tombstone arrives when it likes, also after the worker that sent it has died, and after any number of other writes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from projector.apply.step import Step
from projector.feeds.cap import Trim, Trimmed, trim_at
from projector.replica.schema import Position
from tests.oracle.world import World

Key = tuple[Any, ...]
Place = tuple[Any, ...]


def in_order(key: Key) -> Place:
    """Sorts a feed's keys of one partition as Cassandra does: newest first, then by id."""
    _, at, number = key
    return -at, number


def trims(
    world: World,
    connection: sqlite3.Connection,
    step: Step,
    position: Position,
    rng: Random,
    *,
    made: Callable[[int, int, int | None], Trim] = trim_at,
    keep: Callable[[int], int] = lambda cap: cap,
) -> list[Callable[[], None]]:
    """Some trims of a worker that has reached a position. made, keep: the rules, to be broken."""
    sent: list[Callable[[], None]] = []
    for name, cap in step.feeds.caps.items():
        over = "SELECT reader FROM main.copies WHERE model = ? AND n > ?"
        readers = [reader for (reader,) in connection.execute(over, (name, cap.cap)) if rng.random() < 0.4]
        at = made(position.lsn, position.applied_lsn, step.deferred.held_back(name))
        table = next(t for m, t in zip(world.models.models, world.store, strict=True) if m.name == name)
        outcomes = {}
        for reader in readers:
            keys = sorted((key for key in table.rows() if key[0] == reader), key=in_order)
            outcomes[reader] = Trimmed(rows=len(keys), cut=len(keys) > cap.cap)
            if outcomes[reader].cut:
                last = keys[keep(cap.cap) - 1]
                sent.append(partial(table.delete_range, _after(last), at.stamp))
        connection.execute("BEGIN")
        cap.trimmed(outcomes, at)
        connection.execute("COMMIT")
    return sent


def _after(last: Key) -> Callable[[Key], bool]:
    return lambda key: key[0] == last[0] and in_order(key) > in_order(last)
