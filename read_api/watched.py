"""A partition that somebody watches: its rows as of now, and how they differ from what a watcher was sent before. Pure.

A watcher is always brought from the state that it has to the newest one, however many there were in between: a slow one gets
fewer and larger steps, and nothing waits in a queue for it. States are told apart by a digest of their rows, which with the
covered position is an event's id: whoever comes back with the id of a state that is still known gets the difference, else
the whole of the newest one, in which rows that were deleted meanwhile are missing as they should be.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import msgspec

from command_api.lsn import Lsn

MOST_STATES = 32
"""Of one partition, which are remembered for those who come back."""

Key = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class State:
    """rows: the encoded ones by their clustering key, in their order. covered: the position they show, or a later one.

    seen: what the state after this one has to cover: Postgres has shown rows of up to there. None where `covered` says it.
    """

    rows: Mapping[Key, bytes]
    covered: Lsn
    seen: Lsn | None = None
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        digest = blake2b(digest_size=12)
        for row in self.rows.values():
            digest.update(row)
            digest.update(b"\0")
        object.__setattr__(self, "digest", digest.hexdigest())

    @property
    def id(self) -> str:
        """The id of an event that leads to this state."""
        return f"{self.covered}-{self.digest}"


def digest_of(event_id: str) -> str:
    """The digest in an event's id; something that no state has for any other text."""
    return event_id.rpartition("-")[2]


class History:
    """The states of a partition, the newest and some before it. key: names of the columns that identify a row."""

    def __init__(self, state: State, key: Sequence[str]) -> None:
        self._states = OrderedDict({state.digest: state})
        self._key = tuple(key)
        self._steps: dict[tuple[str, str], bytes] = {}
        self.newest = state

    def add(self, state: State) -> bool:
        """Make it the newest one; False when its rows are those of the newest."""
        if state.digest == self.newest.digest:
            self.newest = self._states[state.digest] = state
            self._steps.clear()  # they carry the position of before
            return False
        known = (
            self.newest.rows
        )  # most rows are the same ones: their bytes are kept once, however many states have them
        rows = {key: before if (before := known.get(key)) == row else row for key, row in state.rows.items()}
        state = replace(state, rows=rows)
        self._states.pop(state.digest, None)
        self._states[state.digest] = self.newest = state
        if len(self._states) > MOST_STATES:
            self._states.popitem(last=False)
        self._steps.clear()
        return True

    def event(self, digest: str | None) -> bytes:
        """The event that leads from a state to the newest: a change when it is known, the whole otherwise; b"" for none."""
        newest = self.newest
        if digest == newest.digest:
            return b""
        before = self._states.get(digest) if digest is not None else None
        step = (before.digest if before is not None else "", newest.id)
        if step not in self._steps:
            self._steps[step] = self._snapshot() if before is None else self._change(before)
        return self._steps[step]

    def _snapshot(self) -> bytes:
        rows = b",".join(self.newest.rows.values())
        return _event("snapshot", self.newest, b'{"covered_lsn":"%s","rows":[%s]}', rows)

    def _change(self, before: State) -> bytes:
        upserted = b",".join(row for key, row in self.newest.rows.items() if before.rows.get(key) != row)
        gone = b",".join(self._key_of(row) for key, row in before.rows.items() if key not in self.newest.rows)
        return _event("change", self.newest, b'{"covered_lsn":"%s","upserted":[%s],"deleted":[%s]}', upserted, gone)

    def _key_of(self, row: bytes) -> bytes:
        values: dict[str, Any] = msgspec.json.decode(row)
        return msgspec.json.encode({name: values[name] for name in self._key})


def _event(name: str, state: State, form: bytes, *parts: bytes) -> bytes:
    data = form % (str(state.covered).encode(), *parts)
    # One data line holds it: a JSON column comes as it was typed, where line breaks are but space between its parts.
    data = data.replace(b"\n", b" ").replace(b"\r", b" ")
    return b"event: %s\nid: %s\ndata: %s\n\n" % (name.encode(), state.id.encode(), data)
