"""Trims: of a partition's rows in Cassandra, those after the newest `keep` go by range tombstones.

Promised: a trim takes rows after the `keep`-th that a quorum sees at that moment, as far as they are not newer than its
timestamp, and nothing else. A partition with a few rows too many is left alone, so that a tombstone takes many at once.
Not promised: that it succeeds. Nothing depends on a trim, so one that fails is logged, told as the partition's outcome and
not tried again here; the others go on.

What a read meets: a trim's tombstone lies after the rows that are kept, and covers those of all trims before. Traced on
Cassandra 5.0 after eight trims of a partition (`tests.integration.write.test_trim`): a read of 50 rows or of all 800 that are
kept meets none, one that goes on to the partition's end meets one, counted as 2 for its two bounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cassandra import ConsistencyLevel, DriverException
from cassandra.cluster import NoHostAvailable, ResponseFuture, Session
from cassandra.protocol import ErrorMessage
from cassandra.query import BoundStatement, PreparedStatement

from command_api.process.logging import get_logger
from projections.cassandra_table import CassandraTable
from projector.cassandra.encode import RowEncoder

_log = get_logger(__name__)
_AT_ONCE = 32
_TIMEOUT_S = 10.0
_FAILURES = (DriverException, ErrorMessage, NoHostAvailable)
_HEAD = 9  # of an entry with one value: what comes before the value's bytes


@dataclass(frozen=True, kw_only=True)
class Trimmed:
    """What trimming a partition came to. rows: that it was seen to have; cut: whether those after the kept ones went."""

    rows: int
    cut: bool


class Trimmer:
    """Trims the partitions of one table whose partition key is one column."""

    def __init__(self, session: Session, table: CassandraTable, *, keep: int, spare: int) -> None:
        """spare: rows beyond `keep` that are left alone."""
        self._session = session
        self._table = table
        self._keep = keep
        self._most = keep + spare + 1
        (partition,) = table.partition_key
        self._encoder = RowEncoder(
            CassandraTable(
                keyspace=table.keyspace,
                name=table.name,
                columns={partition: table.columns[partition]},
                partition_key=(partition,),
                clustering=(),
                stored=table.stored,
            )
        )
        self._read: PreparedStatement | None = None
        self._cuts: list[PreparedStatement] = []

    def trim(self, partitions: Iterable[Any], timestamp: int) -> dict[Any, Trimmed | None]:
        """Trim partitions (values in replica form) with a write timestamp: each one's outcome, None where it failed."""
        waiting = list(partitions)
        outcomes: dict[Any, Trimmed | None] = dict.fromkeys(waiting)
        failures: list[Exception] = []
        try:
            read = self._prepared()
        except _FAILURES as error:
            waiting, failures = [], [error]
        while waiting:
            now, waiting = waiting[:_AT_ONCE], waiting[_AT_ONCE:]
            sent = [(p, self._send(bound)) for p in now if (bound := self._reading(read, p, failures)) is not None]
            found = {p: rows for p, answer in sent if (rows := _answer(answer, failures)) is not None}
            cuts = {p: [self._send(cut) for cut in self._cutting(rows, timestamp)] for p, rows in found.items()}
            for partition, answers in cuts.items():
                if None not in [_answer(answer, failures) for answer in answers]:
                    number = len(found[partition])
                    outcomes[partition] = Trimmed(rows=number, cut=number == self._most)
        if failures:
            failed = sum(outcome is None for outcome in outcomes.values())
            _log.warning(
                "partitions are not trimmed now", table=self._table.name, partitions=failed, cause=str(failures[0])
            )
        return outcomes

    def _prepared(self) -> PreparedStatement:
        if self._read is None:
            cuts = []
            table, names = self._table, [f'"{name}"' for name in self._table.key]
            for depth, clustering in enumerate(table.clustering, start=1):
                after = "<" if clustering.descending else ">"
                equal = " AND ".join(f"{name} = ?" for name in names[:depth])
                cut = f"DELETE FROM {table.qualified} USING TIMESTAMP ? WHERE {equal} AND {names[depth]} {after} ?"
                cuts.append(self._session.prepare(cut))
            read = f"SELECT {', '.join(names)} FROM {table.qualified} WHERE {names[0]} = ? LIMIT {self._most}"
            self._read, self._cuts = self._session.prepare(read), cuts
        return self._read

    def _reading(self, read: PreparedStatement, partition: Any, failures: list[Exception]) -> BoundStatement | None:
        try:
            (entry,) = self._encoder.bind_keys(b"", [(partition,)])
        except ValueError as error:  # no key can be so long: the rows were refused
            failures.append(error)
            return None
        bound = BoundStatement(read, fetch_size=self._most)
        bound.values = [entry[_HEAD:]]
        return bound

    def _cutting(self, rows: Sequence[Any], timestamp: int) -> Iterable[BoundStatement]:
        """One delete of all that differs from the last kept row in the first clustering column; others for ties."""
        if len(rows) < self._most:
            return
        last, first_gone = tuple(rows[self._keep - 1]), tuple(rows[self._keep])
        same = next(at for at, (a, b) in enumerate(zip(last, first_gone, strict=True)) if a != b)
        for depth, cut in enumerate(self._cuts, start=1):
            if depth <= same:
                yield cut.bind((timestamp, *last[: depth + 1]))

    def _send(self, bound: BoundStatement) -> ResponseFuture:
        bound.consistency_level = ConsistencyLevel.LOCAL_QUORUM
        return self._session.execute_async(bound, timeout=_TIMEOUT_S)


def _answer(answer: ResponseFuture, failures: list[Exception]) -> list[Any] | None:
    """The rows of an answer; None when it is an error, which is added to the others."""
    try:
        return list(answer.result())
    except _FAILURES as error:
        failures.append(error)
        return None


Trimmers = Mapping[str, Trimmer]
"""By the name of the read model."""
