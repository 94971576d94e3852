"""Histories as the log carries them: records by `command_api.envelope`'s contract, and what can happen to them there.

A relay that dies and begins again repeats what it isn't sure of; one that was paused and wakes up writes on beside its
successor. `disturbed` makes such logs: every writer's records in order, whole suffixes of the history interleaved.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import LargeBinary, Table

from command_api.envelope import TABLE_KEY, UNAVAILABLE
from tests.oracle.history import Commit, Event, Row

HISTORY = "7000000000000000001/1"


class Entry(NamedTuple):
    """A record. key, value: its JSON bytes. commit: index of its transaction, None for a heartbeat. last: it is an END."""

    key: bytes | None
    value: bytes
    commit: int | None
    last: bool


def records(commits: Sequence[Commit]) -> list[Entry]:
    """The history as one undisturbed relay writes it."""
    return [
        Entry(key, value, at, '"END"' in value.decode()[:20])
        for at, c in enumerate(commits)
        for key, value in encoded(c)
    ]


def encoded(commit: Commit) -> Iterable[tuple[bytes | None, bytes]]:
    """BEGIN, the changes, END of a transaction: (key, value)."""
    at_ms = 1_700_000_000_000 + commit.end
    identifier = f"{commit.xid}:{commit.start}"
    times = {"ts_ms": at_ms, "ts_us": at_ms * 1000}
    collections: dict[str, int] = {}
    yield (
        _json({"id": identifier}),
        _json({"status": "BEGIN", "id": identifier, "event_count": None, "data_collections": None, **times}),
    )
    for order, (event, lsn) in enumerate(zip(commit.events, commit.row_lsns, strict=True), start=1):
        name = f"public.{event.table.name}"
        collections[name] = collections.get(name, 0) + 1
        source = {
            "connector": "postgresql", "name": "lockstep", "db": "shop", "schema": "public", "table": str(event.table.name),
            "txId": None if commit.xid == "snapshot" else int(commit.xid), "lsn": lsn, **times,
            "snapshot": "true" if event.op == "r" else "false",
        }  # fmt: skip
        place = {"id": identifier, "total_order": order, "data_collection_order": collections[name]}
        value = {
            "before": _before(event),
            "after": _after(event),
            "source": source,
            "op": event.op,
            "ts_ms": at_ms + 1,
            "transaction": place,
        }
        yield _key(event), _json(value)
    identifier = f"{commit.xid}:{commit.end}"
    counts = [{"data_collection": name, "event_count": count} for name, count in collections.items()]
    end = {"status": "END", "id": identifier, "event_count": len(commit.events), "data_collections": counts, **times}
    yield _json({"id": identifier}), _json({**end, "history": HISTORY})


def heartbeat(lsn: int, at: int | None = None) -> Entry:
    """The stream's position while nothing happens. at: microseconds, otherwise one that grows with the position."""
    at = (1_700_000_000_000 + lsn) * 1000 if at is None else at
    value = {"ts_ms": at // 1000, "ts_us": at, "lsn": lsn, "history": HISTORY}
    return Entry(_json({"serverName": "lockstep"}), _json(value), None, False)


def disturbed(rng: Random, commits: Sequence[Commit]) -> list[Entry]:
    """The same history with repetitions, unfinished transactions, overlapping writers and heartbeats, in one order."""
    calm = records(commits)

    def inside_snapshot(index: int) -> bool:
        """A snapshot is never resumed: whoever begins again takes another one, whose id is its own."""
        return commits[calm[index].commit or 0].xid == "snapshot"

    log: list[Entry] = []
    at, stale = 0, 0  # the writer of the hour's next record; the paused one's
    paused = False
    ended = -1  # index of the last transaction whose END is in the log
    while at < len(calm):
        roll = rng.random()
        if roll > 0.96:  # a writer dies or pauses; its successor begins at a transaction that it can't know to be whole
            paused, stale = rng.random() > 0.5 and not inside_snapshot(at), at
            begin = max(0, ended + 1 - rng.choice((0, 0, 1, 3)))
            at = next(i for i, entry in enumerate(calm) if entry.commit == begin) if begin < len(commits) else at
        elif paused and stale < len(calm) and roll > 0.6 and not inside_snapshot(stale):
            log.append(calm[stale])
            stale += 1
            paused = rng.random() < 0.8
        else:
            log.append(calm[at])
            if calm[at].last:
                ended = max(ended, calm[at].commit or 0)
                if rng.random() > 0.85 and ended == calm[at].commit:
                    # a keepalive stands between records, so never inside of the next commit's
                    following = commits[ended + 1] if ended + 1 < len(commits) else None
                    below = min(following.start + 1, following.end) if following else commits[ended].end + 9
                    log.append(heartbeat(rng.randrange(commits[ended].end, below)))
            at += 1
    return log


def _before(event: Event) -> dict[str, Any] | None:
    if event.op != "d":
        return None
    assert event.before is not None
    keys = [str(column.name) for column in event.table.primary_key.columns]
    return {name: event.before[name].log for name in keys}


def _after(event: Event) -> dict[str, Any] | None:
    if event.after is None:
        return None
    return {
        str(name): _placeholder(event.table, name) if name in event.unchanged else value.log
        for name, value in event.after.items()
    }


def _placeholder(table: Table, name: str) -> str:
    if isinstance(table.c[name].type, LargeBinary):
        return base64.b64encode(UNAVAILABLE.encode()).decode()
    return UNAVAILABLE


def _key(event: Event) -> bytes | None:
    row: Row | None = event.after or event.before
    if row is None:
        return None
    keys = {str(column.name): row[str(column.name)].log for column in event.table.primary_key.columns}
    return _json({**keys, TABLE_KEY: f"lockstep.public.{event.table.name}"})


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)
