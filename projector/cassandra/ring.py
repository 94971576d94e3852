"""Which nodes hold a row, so that a batch goes to one that holds all of it and is not taken apart by a coordinator.

Only needed where nodes hold different rows: with one replica set for the whole ring (no more nodes in the data centre
than replicas) `ring_of` says so with None and no token is computed.
"""

from __future__ import annotations

import struct
import time
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from cassandra.cluster import Session
from cassandra.metadata import Murmur3Token
from cassandra.policies import HostDistance

_RING_SECONDS = 30.0
_int = struct.Struct(">i").unpack_from
_short = struct.Struct(">H").pack


class Ring:
    """Token ranges and the local nodes that hold each: `replicas[i]` holds the tokens up to and including `tokens[i]`."""

    def __init__(self, tokens: Sequence[int], replicas: Sequence[tuple[Any, ...]]) -> None:
        self._tokens = tokens
        self._replicas = replicas

    def replicas(self, routing_key: bytes) -> tuple[Any, ...]:
        """The nodes that hold a partition; the same tuple for all partitions of a range."""
        point = bisect_left(self._tokens, Murmur3Token.hash_fn(routing_key))
        return self._replicas[point % len(self._tokens)]

    def group(self, entries: Sequence[bytes], head: int, width: int) -> dict[tuple[Any, ...], list[int]]:
        """Indexes of entries by replica set; `head` is where values begin, the first `width` are the partition key."""
        groups: dict[tuple[Any, ...], list[int]] = {}
        for index, entry in enumerate(entries):
            groups.setdefault(self.replicas(routing_key(entry, head, width)), []).append(index)
        return groups


class Rings:
    """The rings of keyspaces as a session knows them, looked at again now and then."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[str, tuple[Any, float, Ring | None]] = {}

    def of(self, keyspace: str) -> Ring | None:
        """As `ring_of`."""
        # The driver makes another token map when nodes come or go; a keyspace's replication may change without one.
        seen, now = self._session.cluster.metadata.token_map, time.monotonic()
        known = self._known.get(keyspace)
        if known is None or known[0] is not seen or known[1] < now:
            known = self._known[keyspace] = (seen, now + _RING_SECONDS, ring_of(self._session, keyspace))
        return known[2]


def routing_key(entry: bytes, at: int, width: int) -> bytes:
    """The serialized partition key in a batch entry: the value itself, or of several each with length and a zero."""
    parts = []
    for _ in range(width):
        (length,) = _int(entry, at)
        parts.append(entry[at + 4 : at + 4 + length])
        at += 4 + length
    return parts[0] if width == 1 else b"".join(_short(len(part)) + part + b"\0" for part in parts)


def ring_of(session: Session, keyspace: str) -> Ring | None:
    """The ring of a keyspace as the driver knows it now; None when every node holds every row, or it is not known."""
    cluster = session.cluster
    token_map = cluster.metadata.token_map
    if token_map is None or token_map.token_class is not Murmur3Token or not token_map.ring:
        return None
    token_map.get_replicas(keyspace, token_map.ring[0])  # the driver computes a keyspace's map on first use
    nodes = token_map.tokens_to_hosts_by_ks.get(keyspace)
    if not nodes:
        return None
    distance = cluster.profile_manager.distance
    sets: dict[frozenset[Any], tuple[Any, ...]] = {}
    replicas = []
    for token in token_map.ring:
        local = tuple(host for host in nodes.get(token, ()) if distance(host) == HostDistance.LOCAL)
        replicas.append(sets.setdefault(frozenset(local), local))
    return Ring([token.value for token in token_map.ring], replicas) if len(sets) > 1 else None
