"""What a dead letter is, and what becomes of the known ones at a commit. Pure.

A dead letter is a debt: a worker that has passed the last change of key k has written k at or after it, or holds a
letter of k. `lsn` is of the newest batch that could not write k; the row that stood there before stays for a while, hidden by
the mark (`projector.dead_letters.parking` says why), and is deleted at that LSN.

A letter goes only when k was written, or found to be gone, at a *higher* LSN. At the same LSN, which a repetition may
meet with a Cassandra that refuses no more, it stays and is tried again by the next batch: that LSN may have a delete already.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import msgspec

from projections.dead_letters import partition_digest, path_columns
from projections.read_model import ReadModel
from projector.cassandra.encode import serializer
from projector.cassandra.errors import RefusedRow

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
LONGEST_KEY = 4_096
_LONGEST_REASON = 400

Id = tuple[str, str]
"""Of a letter: its read model and the digest of its key."""


@dataclass(frozen=True, kw_only=True)
class Letter:
    """A row that could not be written.

    row: digest of its key. partition: that of its partition. key: JSON of the key's values in replica form; None when it is
    longer than LONGEST_KEY. lsn: of the batch. since: commit time of the first that could not write it, microseconds.
    again: the next batch is to try it. standing: the row before it may still be there.
    """

    model: str
    row: str
    partition: str
    key: str | None
    reason: str
    lsn: int
    since: int
    again: bool = False
    standing: bool = True

    @property
    def since_text(self) -> str:
        """ISO 8601 of `since`, in UTC."""
        at = _EPOCH + dt.timedelta(microseconds=self.since)
        return at.isoformat(timespec="microseconds").replace("+00:00", "Z")

    @property
    def id(self) -> Id:
        """What tells letters apart."""
        return self.model, self.row


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Of a commit. kept: letters that are new, or are to be stored as they are now.

    cleared: those that go, and at which LSN: one below that of the batch which wrote the row. Another worker may be refused in
    the batch of the same LSN, when a limit is changed in between; its mark has to stay, for it may delete that row.
    """

    kept: tuple[Letter, ...]
    cleared: tuple[tuple[Letter, int], ...]


def settle(known: Mapping[Id, Letter], refused: Iterable[Letter], written: Mapping[Id, int], reached: int) -> Outcome:
    """What becomes of letters when the batches since the last commit are acknowledged.

    refused: of these batches. written: the newest LSN at which a key was sent, of those that had a letter before or by then,
    refused or not. reached: the LSN of the last batch; one before it may have refused a row that a later one has written,
    unnoticed because the refusal was not known yet.
    """
    latest: dict[Id, Letter] = {}
    for letter in refused:
        if letter.id not in latest or latest[letter.id].lsn < letter.lsn:
            latest[letter.id] = letter
    kept, cleared = [], []
    for letter in latest.values():
        before = known.get(letter.id)
        if before is not None and before.lsn > letter.lsn:  # somebody who was further has set it
            continue
        if written.get(letter.id, 0) > letter.lsn:
            continue
        since = letter.since if before is None else before.since
        standing = letter.standing or (before is not None and before.standing)
        kept.append(replace(letter, since=since, again=letter.lsn < reached, standing=standing))
    for at, lsn in written.items():
        before = known.get(at)
        if at in latest and latest[at].lsn >= lsn:
            continue
        if before is not None and lsn > before.lsn:
            cleared.append((before, lsn - 1))
        elif before is not None and lsn == before.lsn and not before.again:
            kept.append(replace(before, again=True))
        elif before is None and at in latest:
            cleared.append((latest[at], lsn - 1))
    return Outcome(kept=tuple(kept), cleared=tuple(cleared))


class Letters:
    """Makes letters of one read model."""

    def __init__(self, model: ReadModel) -> None:
        kinds = model.columns
        path = path_columns(model)
        self._name = model.name
        self._key = model.key
        self._path = [model.key.index(name) for name in path]
        self._serialize = serializer([(name, kinds[name]) for name in path])

    def row_of(self, key: tuple[Any, ...]) -> str:
        """The digest of a key in replica form."""
        return _digest(msgspec.json.encode(key))

    def of(self, refused: RefusedRow, lsn: int, since: int) -> Letter:
        """The letter of a row that was refused."""
        key = tuple(refused.key[name] for name in self._key)
        text = msgspec.json.encode(key)
        return Letter(
            model=self._name,
            row=_digest(text),
            partition=self._partition(key),
            key=text.decode() if len(text) <= LONGEST_KEY else None,
            reason=refused.reason[:_LONGEST_REASON],
            lsn=lsn,
            since=since,
            standing=refused.keyed,
        )

    def _partition(self, key: tuple[Any, ...]) -> str:
        values = tuple(key[at] for at in self._path)
        try:
            return partition_digest(self._serialize(values))
        except ValueError:  # no reader can ask for it, it has no form in CQL
            return _digest(msgspec.json.encode(values))


def _digest(text: bytes) -> str:
    return blake2b(text, digest_size=16).hexdigest()
